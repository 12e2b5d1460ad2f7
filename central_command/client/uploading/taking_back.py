"""What becomes of an uploaded session of which the server refuses something: its steps still stand in the file.

What waits behind the refusal is taken back, and the session is closed as it is, which credits what was accepted. Where
the server had only closed it already, or takes it no more without the contributor's key, the rest of the file becomes a
further session; where the contributor had withdrawn their consent, it does once they have given it again. Any other
refusal is final.
"""

from central_command.client.delivering.posting import Answer
from central_command.client.delivering.progress import Resting, Sent
from central_command.client.delivering.refusals import KEY_REQUIRED, NOT_OPENED
from central_command.client.spool.records import StoredEnvelope, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.uploading.history import (
    ENDED_BY_SERVER,
    ENDED_FOR_KEY,
    ERASED,
    REFUSED_OPENING,
    WITHDRAWN,
    without_undelivered,
)

_OF_CONTRIBUTOR = {"consent_withdrawn": WITHDRAWN, "contributor_erased": ERASED}
"""Refusals that say nothing against the session, and what is kept of them."""


class TakingBack:
    """Refusals of sessions that are fed from files."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def refused(self, session_id: str, envelope: StoredEnvelope, answer: Answer) -> Sent:
        """End the session with what the server has of it."""
        session, code = self._spool.session(session_id), str(answer.members.get("code"))
        said = f"{name_of(envelope.kind, envelope.position)} was refused: {answer.reason.rstrip('.')}."
        problem = _OF_CONTRIBUTOR.get(code, said)
        if code == "session_closed" and session.envelopes_accepted:
            problem = ENDED_BY_SERVER
        if code == KEY_REQUIRED and not self._has_begun_anew_in_vain(session):
            problem = ENDED_FOR_KEY
        self._spool.take_back(session_id, envelope.position, problem, without_undelivered)
        return Sent(session_id, refusal=problem)

    def _has_begun_anew_in_vain(self, session: StoredSession) -> bool:
        """Whether another session of its source ended for want of the key, and nothing was accepted since."""
        others = [] if session.source is None else self._spool.sessions_of(session.source)
        return not session.envelopes_accepted and any(each.problem == ENDED_FOR_KEY for each in others)

    def not_opened(self, session: StoredSession, answer: Answer) -> Resting:
        """Give up the session, of which nothing was sent: the next try begins anew, perhaps with another model."""
        self._spool.fail(session.session_id, f"{REFUSED_OPENING}{answer.reason}")
        return Resting(NOT_OPENED, answer.reason)


def name_of(kind: str, position: int) -> str:
    """What an envelope is called: chunks by their number, as all of them stand before anything else."""
    return f"Chunk {position + 1}" if kind == "CHUNK" else kind
