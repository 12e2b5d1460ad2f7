"""Says to a server what may be done with a contributor's data, erasure included, signed where they have a key.

What is asked and answered: docs/protocol.md, "Contributors".
"""

import contextlib
from collections.abc import Callable
from typing import Annotated, TypeVar

import httpx
import msgspec
import trio

from actors.consent.settings import ConsentMode
from actors.consent.signatures import REQUEST_AGE_S_MAX
from central_command.client.consenting.receipts import ReceiptAnswer, ReceiptKeys
from central_command.client.contract.chunking import encode_json
from central_command.client.contract.contributor_keys import ContributorKey, export_advice, wants_key
from central_command.client.contract.endpoints import (
    WELL_KNOWN_PATH,
    consent_path,
    contributor_path,
    erasure_path,
)
from central_command.client.delivering.posting import Answer, Delivery
from central_command.reaching.unreachable import Undelivered
from persistence.format.consent_events import ConsentState, Decision, Sha256, ShownEvent

T = TypeVar("T")
_ASKED_EVERY_S = 5.0
"""How often it is asked how an erasure stands."""


class NotAnsweredError(Exception):
    """The server did not do what was asked; the text is one sentence that says why, and what to do.

    `is_unreached` says that no answer of a Central Command came at all.
    """

    def __init__(self, text: str, *, is_unreached: bool = False) -> None:
        super().__init__(text)
        self.is_unreached = is_unreached


class ShownNotice(msgspec.Struct, frozen=True):
    """What a server asks to agree to."""

    version: str
    sha256: str
    language: str
    text: str


class ShownConsent(msgspec.Struct, frozen=True, kw_only=True):
    """What a server has of a contributor: the state that follows from it, and the last events, oldest first."""

    state: ConsentState
    current_version: str
    notice: ShownNotice
    last_event_sha256: Sha256
    history: list[ShownEvent]
    erased: bool = False
    """Whether the contributor was erased there; a server of an earlier version does not say."""


class ErasureStanding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a request for erasure stands; `erased_lines` says of one that is done how many of which journal."""

    request: Annotated[str, msgspec.Meta(pattern=r"\Aer_[0-9a-f]{16}\Z")]
    state: str
    requested_at: str
    done_at: str | None = None
    erased_lines: dict[str, int] = {}
    hindered: bool = False
    """Whether something keeps it from being done; the server tries again."""

    @property
    def is_done(self) -> bool:
        """Whether nothing of the contributor is left in any file of the server."""
        return self.done_at is not None


class _Terms(msgspec.Struct, frozen=True):
    mode: ConsentMode


class _WellKnown(msgspec.Struct, frozen=True):
    consent: _Terms


class _Recorded(msgspec.Struct, frozen=True):
    recorded: bool
    event: ShownEvent


class Statements:
    """Speaks for one contributor over one client; `key` signs, None for a contributor without one."""

    def __init__(
        self, client: httpx.AsyncClient, contributor_id: str, key: ContributorKey | None, *, now_s: Callable[[], float]
    ) -> None:
        self._delivery = Delivery(client)
        self._contributor_id = contributor_id
        self._key = key
        self._now_s = now_s
        self._path = consent_path(contributor_id)

    def __repr__(self) -> str:
        return f"<Statements{'' if self._key is None else ' signed'}>"

    async def shown(self) -> ShownConsent:
        """What the server has of the contributor. Raises NotAnsweredError, as the others do."""
        return self._read(await self._asked("GET", self._path), ShownConsent)

    async def holds(self, seen: ShownConsent) -> bool:
        """Whether the server says that it holds back what was sent until the contributor agrees to its terms.

        False where it does not say, as a server of an earlier version.
        """
        if seen.state is not ConsentState.NONE:
            return seen.state is ConsentState.OUTDATED
        known = await self._delivery.get(WELL_KNOWN_PATH, _WellKnown)
        return isinstance(known, _WellKnown) and known.consent.mode is ConsentMode.REQUIRED

    async def say(self, decision: Decision, seen: ShownConsent) -> ShownEvent:
        """Give or withdraw consent, to the terms and behind the last event of `seen`; the event is on disk then."""
        members = {"state": decision, "version": seen.current_version, "after": seen.last_event_sha256}
        return self._read(await self._asked("POST", self._path, encode_json(members)), _Recorded).event

    async def receipt(self) -> ReceiptAnswer:
        """A signed receipt of what the contributor has said, as it came."""
        if not (await self.shown()).history:
            raise NotAnsweredError("There is nothing to give a receipt of: nothing was said in your name there.")
        return self._read(await self._asked("GET", f"{self._path}/receipt"), ReceiptAnswer)

    async def erase(self) -> ErasureStanding:
        """Ask for all of the contributor to be erased; the request is on disk then. Asked again, it is the same one."""
        path = contributor_path(self._contributor_id)
        return self._read(await self._asked("DELETE", path, is_answer=httpx.codes.ACCEPTED), ErasureStanding)

    async def followed(self, standing: ErasureStanding, *, for_s: float) -> ErasureStanding:
        """How a request for erasure stands once it is done, or after so many seconds, whatever comes first.

        A server that does not answer meanwhile is asked again.
        """
        until = trio.current_time() + for_s
        while not standing.is_done and (left_s := until - trio.current_time()) > 0:
            await trio.sleep(min(_ASKED_EVERY_S, left_s))
            with contextlib.suppress(NotAnsweredError):
                standing = self._read(await self._asked("GET", erasure_path(standing.request)), ErasureStanding)
        return standing

    async def _asked(self, method: str, path: str, body: bytes = b"", *, is_answer: int = httpx.codes.OK) -> Answer:
        headers = {}
        if self._key is not None:
            headers = self._key.request_headers(method, path, body, time_s=round(self._now_s()))
        answer = await self._delivery.ask(method, path, body, headers)
        if isinstance(answer, Undelivered):
            raise NotAnsweredError(f"{answer.reason}; {answer.advice}.", is_unreached=True)
        if answer.status == is_answer:
            return answer
        if not answer.is_known:
            stranger = self._delivery.stranger(answer)
            raise NotAnsweredError(f"{stranger.reason}; {stranger.advice}.", is_unreached=True)
        raise NotAnsweredError(self._why(answer))

    def _read(self, answer: Answer, kind: type[T]) -> T:
        return _read(answer, kind, self._delivery)

    def _why(self, answer: Answer) -> str:
        reason = answer.reason.rstrip(".")
        match answer.status:
            case httpx.codes.FORBIDDEN if not wants_key(answer.members.get("code"), answer.reason):
                return f"{reason}."
            case httpx.codes.FORBIDDEN if self._key is None:
                return f"{reason}; {export_advice(self._contributor_id, has_key=False)}."
            case httpx.codes.FORBIDDEN:
                clock = f"this machine's clock must be right to {REQUEST_AGE_S_MAX} s, and the key the registered one"
                return f"{reason}; {clock}."
            case httpx.codes.NOT_FOUND:
                return f"The server knows nothing of consent or erasure ({reason}); {self._delivery.nothing_here()}."
            case httpx.codes.CONFLICT:
                return (
                    "Something else was said in your name meanwhile: look at it (contributor show), and decide again."
                )
            case _:
                return f"{reason}."


async def receipt_keys(client: httpx.AsyncClient) -> ReceiptKeys:
    """The keys that a server says it signs receipts with. Raises NotAnsweredError."""
    delivery = Delivery(client)
    answer = await delivery.ask("GET", WELL_KNOWN_PATH)
    if isinstance(answer, Undelivered):
        raise NotAnsweredError(f"{answer.reason}; {answer.advice}.")
    if answer.status != httpx.codes.OK:
        raise NotAnsweredError(f"The server publishes no key of receipts: {answer.reason}.")
    return _read(answer, ReceiptKeys, delivery)


def _read(answer: Answer, kind: type[T], delivery: Delivery) -> T:
    try:
        return msgspec.convert(answer.members, kind)
    except msgspec.ValidationError as error:
        other = delivery.stranger(answer)
        raise NotAnsweredError(f"{other.reason}, or one of another version ({error}); {other.advice}.") from error
