"""What can be asked of a session, and a request: a message on its way to the actor with the place for its answer."""

from typing import TypeVar

import msgspec

from actors.envelopes.reading import Envelope
from persistence.format.records import ClosedBy
from persistence.journals.slot import Slot

Outcome = TypeVar("Outcome")


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """Open a session (contract, "POST /v1/sessions/open"): every member but the last is required text.

    `signed_by` is the digest of the contributor whose registered key the opening is signed with; None for nobody.
    """

    session_id: str
    public_key: str
    provider: str
    model: str
    machine_fingerprint: str
    app_version_hash: str
    groove_version: str
    signed_by: str | None = None


class Ingest(msgspec.Struct, frozen=True):
    """Take envelopes of one session in, in order, each as if it had come alone.

    One of them (contract, "POST /v1/training/ingest"), or what a batch holds of the session.
    """

    envelopes: tuple[Envelope, ...]


class CloseSession(msgspec.Struct, frozen=True):
    """End a session without the client's own SESSION_CLOSE: by HTTP, or because it was abandoned.

    With `unless_active_since` (seconds since the epoch) the session stays open if anything came from it since then.
    """

    closed_by: ClosedBy
    unless_active_since: float | None = None


class Finish(msgspec.Struct, frozen=True):
    """Complete a close that a crash interrupted: stitch, score and record what is closed but has no trajectory."""


class RetryLetters(msgspec.Struct, frozen=True):
    """Take dead letters of the session in, if they are acceptable now; by their ids, in the order of their lines.

    All there are of a session that has ended without a trajectory, or ends with one of them: it gets one once.
    """

    letter_ids: tuple[str, ...]


Message = OpenSession | Ingest | CloseSession | Finish | RetryLetters


class Request(Slot[Outcome]):
    """One message and the place for its answer: the first one that it is filled with counts.

    The requester may go away at any time; the actor neither knows nor minds.
    """

    __slots__ = ("message",)

    def __init__(self, message: Message) -> None:
        super().__init__()
        self.message = message

    def __repr__(self) -> str:
        state = "answered" if self.is_filled else "waiting"
        return f"<Request {type(self.message).__name__} {state}>"
