"""What each client may believe: for every request, that it was taken in, that it was refused, or nothing."""

import json
import math
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import msgspec

from tests.simulation.world import World

FINAL_CODES = frozenset(
    {"schema", "sequence_mismatch", "session_closed", "invalid_hmac", "unknown_session", "unknown_type"}
)
PASSING_STATUSES = frozenset({408, 429, 500, 503, 507})


class Belief(Enum):
    """What a client may believe of an envelope."""

    UNKNOWN = auto()
    ACKNOWLEDGED = auto()
    REFUSED = auto()


class Reply(msgspec.Struct, frozen=True):
    """An answer, and the number of the operation at which the server began to send it."""

    status: int
    body: dict[str, Any]
    sent_at: int


class Sent(msgspec.Struct, kw_only=True, eq=False):
    """One envelope as it was signed, and what became of it."""

    kind: str
    body: bytes
    signature: str
    sequence: int | None
    steps: list[dict[str, Any]] = []
    chunk_sequence: int = 0
    metadata: dict[str, Any] = {}
    is_acceptable: bool = True
    """Whether it follows the schema."""
    belief: Belief = Belief.UNKNOWN
    envelope_id: str = ""
    code: str = ""
    attempts: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether its sequence number is used up, as far as the client knows."""
        return self.belief is not Belief.UNKNOWN

    @property
    def stored(self) -> bytes:
        """Its members as the journal must hold them: without the client's own id, and without braces."""
        assert self.body.startswith(b'{"envelope_id":"')
        return self.body[self.body.index(b",") + 1 : -1]


class SessionModel:
    """One session as its client knows it."""

    def __init__(self, session_id: str, contributor_id: str) -> None:
        self.session_id = session_id
        self.contributor_id = contributor_id
        self.sent: list[Sent] = []
        self.server_key = ""
        self.http_close_asked = False
        self.closing = False
        """Whether the client has begun to end it, in any way."""
        self.order_broken = False
        """Whether the client gave up an envelope, so that all later ones may be refused."""
        self.close_replies: list[Reply] = []

    def overtaken(self, sent: Sent) -> bool:
        """Whether an envelope with a higher number was sent, which may have been taken first where gaps are."""
        return any(
            each.attempts > 0 and each.sequence is not None and each.sequence > sent.sequence
            for each in self.sent
            if sent.sequence is not None
        )

    def unsettled_before(self, sent: Sent) -> bool:
        """Whether an envelope with a lower number may still be on its way."""
        return any(
            not each.is_settled and each.sequence is not None and each.sequence < sent.sequence
            for each in self.sent
            if sent.sequence is not None
        )


class Model:
    """All sessions, and the judgement of every answer."""

    def __init__(self, world: World, *, blind: bool = False) -> None:
        self.world = world
        self.blind = blind
        self.sessions: dict[str, SessionModel] = {}
        self.said: list[list[tuple[str, str]]] = []
        """Types and contents of the steps of each chunk so far, for whoever copies them."""
        self.abandons_from_s = math.inf
        """When the last client had finished, by the wall clock: whatever is still active then is abandoned."""

    def opened(self, session: SessionModel, reply: Reply | None) -> bool:
        """Judge the answer to an opening; answer whether it is open."""
        if reply is None or self._is_passing(reply):
            return False
        key = reply.body.get("server_public_key")
        if reply.status != 200 or not isinstance(key, str):
            self.world.violated(f"the opening of {session.session_id} was answered {reply.status} {reply.body}")
            return False
        durable = self.world.durable.keys.get(session.session_id)
        if not self.blind and (durable is None or durable[0] != key or durable[1] > reply.sent_at):
            self.world.violated(f"the key of {session.session_id} was answered before it was durable")
        # With a clock that jumped, one that was never used may be forgotten, and is opened anew then.
        if session.server_key not in {"", key} and not self.may_be_abandoned:
            self.world.violated(f"{session.session_id} was given two server keys")
        session.server_key = key
        self.world.counts["answers: opened"] += 1
        return True

    def answered(self, session: SessionModel, sent: Sent, reply: Reply | None, *, in_order: bool) -> bool:
        """Judge the answer to an envelope; answer whether it is final.

        `in_order` says that nothing with a lower number was on its way when it was sent.
        """
        if reply is None or self._is_passing(reply):
            return False
        name = f"{sent.kind} {sent.sequence} of {session.session_id}"
        if reply.status != 200:
            self.world.violated(f"{name} was answered {reply.status} {reply.body}")
            return True
        if reply.body.get("accepted") is True:
            self._acknowledged(name, sent, reply)
            return True
        code = str(reply.body.get("code"))
        self.world.counts[f"answers: {code}"] += 1
        if code == "sequence_mismatch" and not in_order and not sent.is_settled:
            if self.world.accepts_gaps and session.overtaken(sent):
                return self._refused(sent, code)
            # After one was given up nobody knows whether a later one can still be taken: it is not sent for ever.
            return session.order_broken
        if not self._may_be_refused(session, sent, code):
            self.world.violated(f"{name} was refused: {reply.body}")
        if code == "schema" and not self._is_durable(sent.signature, reply):
            self.world.violated(f"{name} was refused before its dead letter was durable")
        return self._refused(sent, code)

    def _acknowledged(self, name: str, sent: Sent, reply: Reply) -> None:
        envelope_id = str(reply.body["envelope_id"])
        if not sent.is_acceptable:
            self.world.violated(f"{name} does not follow the schema and was accepted")
        if sent.belief is Belief.REFUSED:
            self.world.violated(f"{name} was refused and then accepted")
        if sent.envelope_id not in {"", envelope_id}:
            self.world.violated(f"{name} was acknowledged as {sent.envelope_id} and as {envelope_id}")
        if not self._is_durable(sent.signature, reply):
            self.world.violated(f"{name} was acknowledged before it was durable")
        sent.belief, sent.envelope_id = Belief.ACKNOWLEDGED, envelope_id
        self.world.counts["answers: duplicate" if reply.body.get("duplicate") else "answers: accepted"] += 1

    def _is_durable(self, line: str, reply: Reply) -> bool:
        if self.blind:
            return True
        durable_at = self.world.durable.lines.get(line)
        return durable_at is not None and durable_at <= reply.sent_at

    @staticmethod
    def _refused(sent: Sent, code: str) -> bool:
        if sent.belief is Belief.UNKNOWN:
            sent.belief, sent.code = Belief.REFUSED, code
        return True

    def _may_be_refused(self, session: SessionModel, sent: Sent, code: str) -> bool:
        if sent.belief is Belief.ACKNOWLEDGED:
            return False
        match code:
            case "schema":
                return not sent.is_acceptable
            case "sequence_mismatch":
                # The resend of a refused envelope is told that its number is used up.
                is_resend = not sent.is_acceptable and sent.sequence is not None and sent.attempts > 1
                return session.order_broken or is_resend or (self.world.accepts_gaps and session.overtaken(sent))
            case "unknown_session":
                nothing_taken = all(each.belief is not Belief.ACKNOWLEDGED for each in session.sent)
                return self.may_be_abandoned and nothing_taken
            case "session_closed":
                return sent.kind != "USER_FEEDBACK" and (session.closing or self.may_be_abandoned)
            case _:
                return False

    @property
    def may_be_abandoned(self) -> bool:
        """Whether the wall clock has jumped so far that a session looks abandoned."""
        return self.world.largest_jump_s > 86_000

    def tampered(self, session: SessionModel, reply: Reply | None) -> None:
        """Judge the answer to an envelope whose bytes were changed on the way."""
        if reply is not None and (reply.body.get("accepted") is True or reply.status == 500):
            self.world.violated(f"a changed envelope of {session.session_id} was answered {reply.status} {reply.body}")

    def closed(self, session: SessionModel, reply: Reply | None) -> bool:
        """Judge the answer to an HTTP close; answer whether it is final."""
        if reply is None or self._is_passing(reply):
            return False
        nothing_taken = all(sent.belief is not Belief.ACKNOWLEDGED for sent in session.sent)
        if reply.status == HTTPStatus.NOT_FOUND and self.may_be_abandoned and nothing_taken:
            return True  # it was never used, so it may be forgotten
        if reply.status != 200 or reply.body.get("closed") is not True:
            self.world.violated(f"the close of {session.session_id} was answered {reply.status} {reply.body}")
            return True
        own = [sent.signature for sent in session.sent if sent.kind == "SESSION_CLOSE"]
        if not any(self._is_durable(line, reply) for line in (*own, f"close {session.session_id}")):
            self.world.violated(f"the close of {session.session_id} was answered before it was durable")
        if "points" in reply.body and not self._is_durable(f"trajectory {session.session_id}", reply):
            self.world.violated(f"the points of {session.session_id} were answered before they were durable")
        session.close_replies.append(reply)
        self.world.counts["answers: closed"] += 1
        return True

    def _is_passing(self, reply: Reply) -> bool:
        """Whether the answer says to try again later; not without a reason."""
        if reply.status not in PASSING_STATUSES:
            return False
        self.world.counts[f"answers: {reply.status}"] += 1
        life = self.world.life
        if reply.status == 500 and not (life is None or life.has_failed or life.is_over):
            self.world.violated(f"answered 500 {reply.body} without a fault")
        return True


def parsed(body: bytes) -> dict[str, Any]:
    """An answer's JSON object; empty for anything else."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
