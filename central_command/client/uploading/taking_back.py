"""What becomes of an uploaded session of which the server refuses something: its steps still stand in the file.

What waits behind the refusal is taken back, and the session is closed as it is, which credits what was accepted. Where
the server had only closed it already, the rest of the file becomes a further session; any other refusal is final.
"""

from central_command.client.delivering.posting import Answer
from central_command.client.delivering.progress import Resting, Sent
from central_command.client.delivering.refusals import NOT_OPENED
from central_command.client.spool.records import StoredEnvelope, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.uploading.history import ENDED_BY_SERVER, SENT_ANEW, without_undelivered


class TakingBack:
    """Refusals of sessions that are fed from files."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def refused(self, session_id: str, envelope: StoredEnvelope, answer: Answer) -> Sent:
        """End the session with what the server has of it."""
        problem = f"{name_of(envelope.kind, envelope.position)} was refused: {answer.reason.rstrip('.')}."
        if answer.members.get("code") == "session_closed" and self._spool.session(session_id).envelopes_accepted:
            problem = ENDED_BY_SERVER
        self._spool.take_back(session_id, envelope.position, problem, without_undelivered)
        return Sent(session_id, refusal=problem)

    def not_opened(self, session: StoredSession, answer: Answer) -> Resting:
        """Forget the session, of which nothing was sent: the next try begins anew, perhaps with another model."""
        self._spool.fail(session.session_id, SENT_ANEW)
        return Resting(NOT_OPENED, answer.reason)


def name_of(kind: str, position: int) -> str:
    """What an envelope is called: chunks by their number, as all of them stand before anything else."""
    return f"Chunk {position + 1}" if kind == "CHUNK" else kind
