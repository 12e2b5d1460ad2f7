"""What the HTTP layer may ask of the service: the whole of its view of what lies below."""

from typing import Protocol

import msgspec

from actors.consent.register import NotSigned, SayOutcome
from actors.consent.signatures import RequestProof
from actors.envelopes.reading import Envelope
from actors.erasure.job import Report, TooManyErasures
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import CloseOutcome, IngestOutcome, OpenOutcome
from persistence.databases.reports import DayReport, LeaderboardEntry, ModelReport, ProviderReport, Summary


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the service can take envelopes in; `checks` names each condition and says "ok" or what is wrong.

    Those of `not_needed` say what is wrong without which envelopes are taken in all the same.
    """

    ready: bool
    checks: dict[str, str]
    not_needed: frozenset[str] = frozenset()


class CurationLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far the corpus is behind: trajectories, and texts of the intake, that were not taken yet.

    `seconds` is for how long the first of them waits.
    """

    trajectories: int
    texts: int = 0
    seconds: float


class Gateway(Protocol):
    """Sessions, statistics and readiness. Nothing here raises for what a client sent."""

    async def open_session(self, message: OpenSession) -> OpenOutcome:
        """Open a session, or answer a resend of the same opening."""
        ...

    async def is_open(self, session_id: str) -> bool:
        """Whether a session takes envelopes, as far as is known without waking it; some of a second may be missing."""
        ...

    async def ingest(self, envelope: Envelope) -> IngestOutcome:
        """Take one envelope in: the answer comes after it is on disk."""
        ...

    async def ingest_many(self, session_id: str, envelopes: tuple[Envelope, ...]) -> tuple[IngestOutcome, ...]:
        """Take envelopes of one session in, in order, each as if it had come alone; one outcome for each."""
        ...

    async def close_session(self, session_id: str) -> CloseOutcome:
        """Close a session without the client's own SESSION_CLOSE."""
        ...

    async def erase_contributor(
        self, contributor_id: str, proof: RequestProof | None
    ) -> Report | TooManyErasures | NotSigned:
        """Ask for a contributor to be erased; who has a key must sign. The request is on disk when this returns."""
        ...

    async def erase_user(self, user_id: str) -> Report | TooManyErasures | SayOutcome:
        """Withdraw for a user of an application, and ask for them to be erased; or what kept that from being recorded.

        Who may ask is decided before.
        """
        ...

    def erasure(self, request: str) -> Report | None:
        """How a request stands; None for one that is not known."""
        ...

    async def summary(self) -> Summary:
        """Totals since the beginning."""
        ...

    async def daily(self, days: int) -> list[DayReport]:
        """The last `days` UTC days, today included, oldest first, days without traffic as zeros."""
        ...

    async def models(self) -> dict[str, ModelReport]:
        """By model, most steps first."""
        ...

    async def providers(self) -> dict[str, ProviderReport]:
        """By provider, most steps first."""
        ...

    async def leaderboard(self, limit: int) -> list[LeaderboardEntry]:
        """The `limit` contributors with the most points."""
        ...

    def readiness(self) -> Readiness:
        """Whether the service is recovered, its writers live and its disk has room."""
        ...

    def stalled(self) -> dict[str, float]:
        """The journals whose writer has not moved for longer than it may, and for how many seconds."""
        ...

    @property
    def last_full_check_at(self) -> float | None:
        """When all stored lines were last gone over, in seconds since the epoch; None before that."""
        ...

    @property
    def curation_lag(self) -> CurationLag | None:
        """How far the corpus is behind; None where none is made."""
        ...

    @property
    def uptime_s(self) -> float:
        """Seconds since the service started."""
        ...
