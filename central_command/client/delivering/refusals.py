"""What becomes of a session of which the server has refused something for good: that depends on where it came from.

What was recorded stands nowhere else: it goes on in a new session if the old one takes no more (`Moving`). What was
read from a file can be read again, so whoever feeds a file takes it back (`uploading.history`).
"""

import uuid
from typing import Protocol

from central_command.client.delivering.posting import Answer
from central_command.client.delivering.progress import Done, Resting, Sent
from central_command.client.spool.records import StoredEnvelope, StoredSession
from central_command.client.spool.spool import Spool

KEY_REQUIRED = "contributor_key_required"
"""The session was opened without the key of whom its chunks name: the next one is opened with it, or waits for it."""
_USES_SEQUENCE = frozenset({"schema", "unknown_type", "reserved_member", "session_too_large", "consent_withdrawn"})
"""Refusals after which the server expects the next sequence number (docs/protocol.md)."""
ENDS_SESSION = frozenset(
    {
        *("unknown_session", "session_closed", "envelope_limit", "sequence_mismatch", "session_too_large"),
        *("invalid_hmac", "missing_attestation", KEY_REQUIRED),
    }
)
"""Refusals that say nothing against the envelope itself: it is signed anew, for a new session."""
NOT_OPENED = "The session was not opened"
REFUSED_OPENING = f"{NOT_OPENED}: "
"""What the problem of a session begins with that the server does not open; why follows."""


class Refusals(Protocol):
    """Notes a refusal in the spool, and says how it goes on; its calls block for as long as the spool's do."""

    def refused(self, session_id: str, envelope: StoredEnvelope, answer: Answer) -> Sent | Resting:
        """The server refused an envelope: `answer` has a `code`."""
        ...

    def not_opened(self, session: StoredSession, answer: Answer) -> Sent | Done | Resting:
        """The server does not open a session."""
        ...


class Moving:
    """What a session cannot take any more goes to a new one; what is refused for itself holds nothing up."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def refused(self, session_id: str, envelope: StoredEnvelope, answer: Answer) -> Sent:
        """Move what waits if the session is at fault, else leave out the envelope."""
        code = answer.members.get("code")
        refusal = f"{envelope.kind} was refused: {answer.reason}"
        if code in ENDS_SESSION and (moved := self.move(session_id, refusal)):
            return Sent(moved)
        self._spool.refused(session_id, envelope.position, refusal)
        if code not in _USES_SEQUENCE and code not in ENDS_SESSION:
            return Sent(self.move(session_id, refusal) or session_id, refusal=refusal)
        return Sent(session_id, refusal=refusal)

    def not_opened(self, session: StoredSession, answer: Answer) -> Sent | Done | Resting:
        """Try another id if this one is taken.

        What the server takes under no id waits: what was recorded stands nowhere else, and the server's settings say
        what it takes, of which providers for one. Why is noted, for whoever asks what waits.
        """
        problem = f"{REFUSED_OPENING}{answer.reason}"
        if answer.status == 409 and (moved := self.move(session.session_id, problem)):
            return Sent(moved)
        if answer.status == 409 and "error" in answer.members:
            self._spool.fail(session.session_id, problem)
            return Done(problem)
        self._spool.explain(session.session_id, problem)
        return Resting(NOT_OPENED, answer.reason)

    def move(self, session_id: str, problem: str) -> str | None:
        """Move what waits of a session to a new one; the id of that, None where `Spool.move` moves nothing."""
        moved = self._spool.move(session_id, f"sess_{uuid.uuid4()}", problem)
        return None if moved is None else moved.session_id
