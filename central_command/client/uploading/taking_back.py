"""What becomes of an uploaded session of which the server refuses something: mostly, its steps still stand in the file.

What waits behind the refusal is taken back then, and the session is closed as it is, which credits what was accepted.
Where the server says something of the session alone (it had closed or forgotten it, it is full, or not opened with the
contributor's key), the rest of the file becomes a further session; where the contributor had withdrawn their consent,
it does once they have given it again. Any other refusal is final.

Of a file that is gone nothing can be read again: what was signed stands in the spool alone, as a recording does. It
goes to a new session where the old one takes no more, and waits where no session is taken. Neither is a session dropped
that the server does not open, as long as there is room: its file may be gone by the time that it does.
"""

from central_command.client.delivering.posting import Answer
from central_command.client.delivering.progress import Resting, Sent
from central_command.client.delivering.refusals import (
    ENDS_SESSION,
    KEY_REQUIRED,
    NOT_OPENED,
    REFUSED_OPENING,
    Moving,
)
from central_command.client.spool.records import StoredEnvelope, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.uploading.history import (
    ENDED_BY_FAULT,
    ENDED_BY_SERVER,
    ENDED_FOR_KEY,
    ERASED,
    WITHDRAWN,
    is_gone,
    without_undelivered,
)

KEPT_ENVELOPES_MAX = 2_000
"""While more envelopes than this wait in the spool, what no server opens is left to its file, as long as that is there:
a tenth of what the spool takes, so that recordings find room."""
KEPT_BYTES_MAX = 104_857_600
"""The same in bytes."""
_WITHDRAWN_CODE = "consent_withdrawn"
_OF_CONTRIBUTOR = {_WITHDRAWN_CODE: WITHDRAWN, "contributor_erased": ERASED}
"""Refusals that say nothing against the session, and what is kept of them."""
_ENDED = {"session_closed": ENDED_BY_SERVER, KEY_REQUIRED: ENDED_FOR_KEY}
"""What is kept of refusals that say something of the session alone, where it is not `ENDED_BY_FAULT`."""
_FULL = frozenset({"envelope_limit", "session_too_large"})


class TakingBack:
    """Refusals of sessions that are fed from files."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._moving = Moving(spool)

    def refused(self, session_id: str, envelope: StoredEnvelope, answer: Answer) -> Sent | Resting:
        """End the session with what the server has of it; what can be read nowhere else goes on, or waits."""
        session, code = self._spool.session(session_id), str(answer.members.get("code"))
        name = name_of(envelope.kind, envelope.position)
        said = f"{name} was refused: {answer.reason.rstrip('.')}."
        problem = _OF_CONTRIBUTOR.get(code, said)
        if envelope.steps and problem != ERASED and is_gone(session):
            return self._go_on(session_id, envelope, answer, problem)
        if code in ENDS_SESSION and not self._is_in_vain(session, code):
            problem = _ENDED.get(code, ENDED_BY_FAULT)
        self._spool.take_back(session_id, envelope.position, problem, without_undelivered)
        return Sent(session_id, refusal=problem)

    def _go_on(self, session_id: str, envelope: StoredEnvelope, answer: Answer, problem: str) -> Sent | Resting:
        """Lose no step of a file that is gone but those that are refused for what they say."""
        code = answer.members.get("code")
        if code not in ENDS_SESSION and code != _WITHDRAWN_CODE:
            return self._moving.refused(session_id, envelope, answer)
        moved = self._moving.move(session_id, problem)
        if moved is not None and code != _WITHDRAWN_CODE:
            return Sent(moved)
        if moved is not None:
            self._spool.explain(moved, WITHDRAWN)  # until consent is given again, no session is opened for it
        return Resting(f"{name_of(envelope.kind, envelope.position)} was refused", answer.reason)

    def _is_in_vain(self, session: StoredSession, code: str) -> bool:
        """Whether a further session would take no more than this one.

        This one took nothing, and was full, or another of its source ended with nothing before.
        """
        if session.envelopes_accepted:
            return False
        others = [] if session.source is None else self._spool.sessions_of(session.source)
        endings = {*_ENDED.values(), ENDED_BY_FAULT}
        return code in _FULL or any(each.problem in endings and not each.envelopes_accepted for each in others)

    def not_opened(self, session: StoredSession, answer: Answer) -> Sent | Resting:
        """Keep the session, of which nothing was sent, and why it is refused; try another id if this one is taken."""
        problem = f"{REFUSED_OPENING}{answer.reason}"
        if answer.status == 409 and (moved := self._moving.move(session.session_id, problem)):
            return Sent(moved)
        if self._has_room() or is_gone(session):
            self._spool.explain(session.session_id, problem)
        else:
            self._spool.fail(session.session_id, problem)
        return Resting(NOT_OPENED, answer.reason, status=answer.status)

    def _has_room(self) -> bool:
        waiting = self._spool.statistics()
        return waiting.envelopes <= KEPT_ENVELOPES_MAX and waiting.bytes <= KEPT_BYTES_MAX


def name_of(kind: str, position: int) -> str:
    """What an envelope is called: chunks by their number, as all of them stand before anything else."""
    return f"Chunk {position + 1}" if kind == "CHUNK" else kind
