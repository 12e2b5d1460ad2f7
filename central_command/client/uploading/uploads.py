"""What was sent of which transcript, on top of the spool: so that a step is sent once, however often one tries.

A *source* is one session of an agent, wherever its file lies: its key is made of the agent's own session id and the
first step, or of the path when the agent names no session. Each of the spool's sessions that came from it carries, in
`source_state`, a digest of every step that it took. A digest joins the spool in the very transaction that signs the
envelope with the step, so "taken" and "signed" can never differ. What is still to be sent is what the file holds more
often than the digests do. That survives a file that grows, moves, or is written anew with other line breaks; a file of
which the beginning has changed sends only what is new.

Eight bytes of digest a step are kept for good: 4 kB for a session of 500 steps.
"""

import fcntl
import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from central_command.client.contract.chunking import encode_step
from central_command.client.contract.steps import Step
from central_command.client.spool.records import SessionState, SpoolError, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.transcripts.reader import Transcript
from central_command.client.uploading.timing import shift_to_now

_DIGEST_BYTES = 8
_LOCK_OFFSET_BITS = 62
ENDED_BY_SERVER = "the server had already closed the session"
"""Kept as the problem of a session whose last chunk came too late: its steps go into a further session."""
SENT_ANEW = "given up, because its file was sent anew"


class Placing(msgspec.Struct, frozen=True, array_like=True):
    """Where a session's times are moved to: `from_s` to `to_s`, and distances from there shrunk by `factor`."""

    from_s: float = 0.0
    to_s: float = 0.0
    factor: float = 1.0

    def place(self, seconds: float) -> float:
        """A step's time as it is sent, in seconds; unmoved times stay as they are."""
        if self.from_s == self.to_s and self.factor == 1.0:
            return seconds
        return math.floor((self.to_s - (self.from_s - seconds) * self.factor) * 1000) / 1000


def placing_for(steps: Sequence[Step], now_s: float) -> Placing:
    """How `steps` (at least one) must be moved so that the server takes them at `now_s`; not at all, when it may."""
    _, shift = shift_to_now(tuple(steps), now_s=now_s)
    if shift is None:
        return Placing()
    last = max(step.timestamp for step in steps)
    return Placing(last, last + shift.seconds, shift.span_factor)


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """What a session of the spool knows of its source: written with each envelope, read when it is taken up again.

    `taken` are the digests of the steps in all chunks but the last, `last` those of the last one: it may yet turn out
    to be refused. `closing` and `feedback_signed` say that SESSION_CLOSE and USER_FEEDBACK are signed.
    """

    path: str
    contributor_id: str
    metadata: dict[str, str | None]
    continues: str | None = None
    placing: Placing = Placing()
    taken: bytes = b""
    last: bytes = b""
    bytes_sent: int = 0
    closing: bool = False
    feedback_signed: bool = False

    def encode(self) -> bytes:
        """As `source_state` holds it."""
        return msgspec.msgpack.encode(self)


_DECODER = msgspec.msgpack.Decoder(SourceState)


def state_of(session: StoredSession) -> SourceState:
    """The state of a session that has a source; raises SpoolError when it cannot be read."""
    try:
        return _DECODER.decode(session.source_state)
    except msgspec.DecodeError as error:
        raise SpoolError(f"What was noted of session {session.session_id} cannot be read: {error}.") from error


def digest(step: Step) -> bytes:
    """What one step is recognised by: all of it but its number, and but the tool that a result is matched to later."""
    tool = step.tool if step.type == "action" else None
    text = encode_step(msgspec.structs.replace(step, step=0, tool=tool))
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()


def digests(steps: Sequence[Step]) -> bytes:
    """The digests of `steps`, one after the other."""
    return b"".join(map(digest, steps))


def counted(*texts: bytes) -> Counter[bytes]:
    """How often each digest occurs in `texts`."""
    size = _DIGEST_BYTES
    return Counter(text[at : at + size] for text in texts for at in range(0, len(text), size))


def without(steps: Sequence[Step], taken: Counter[bytes]) -> list[Step]:
    """The steps that are not among `taken`, in order; what occurs twice must have been taken twice."""
    left = Counter(taken)
    rest = []
    for step in steps:
        key = digest(step)
        if left[key] > 0:
            left[key] -= 1
        else:
            rest.append(step)
    return rest


def within(steps: Sequence[Step], chosen: Counter[bytes]) -> list[Step]:
    """The steps that are among `chosen`, in order, each as often as there."""
    left = Counter(chosen)
    found = []
    for step in steps:
        key = digest(step)
        if left[key] > 0:
            left[key] -= 1
            found.append(step)
    return found


def source_key(transcript: Transcript, path: Path) -> str:
    """The key under which the spool knows a transcript (at least one step): the same for a copy or a moved file."""
    whose = transcript.session_key or str(path.resolve())
    return f"{transcript.provider}:{whose}:{digest(transcript.steps[0]).hex()}"


class Uploads:
    """The sessions that came from transcripts, for one server, in a spool that is shared with other programs."""

    def __init__(self, spool: Spool, lock_path: Path, *, url: str) -> None:
        self.spool = spool
        self.url = url
        self._claimed: set[str] = set()
        try:
            self._locks = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(f"Cannot use {lock_path}: {error.strerror or error}.") from error

    def close(self) -> None:
        """Give up all claims; the spool stays open."""
        os.close(self._locks)

    @contextmanager
    def claimed(self, source: str) -> Iterator[bool]:
        """Hold `source` alone: False when something else, here or in another process, holds it already."""
        offset = int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") >> (64 - _LOCK_OFFSET_BITS)
        if source in self._claimed:
            yield False
            return
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError:
            yield False
            return
        self._claimed.add(source)
        try:
            yield True
        finally:
            self._claimed.discard(source)
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, offset)

    def sessions(self, source: str) -> list[StoredSession]:
        """The source's sessions on this server, oldest first, without those given up for sending it anew."""
        every = self.spool.sessions_of(source)
        return [session for session in every if session.url == self.url and session.problem != SENT_ANEW]

    def send_anew(self, source: str) -> None:
        """Forget what was sent: all steps count as new. The server keeps what it has."""
        for session in self.sessions(source):
            self.spool.fail(session.session_id, SENT_ANEW)


def taken_by(session: StoredSession) -> Counter[bytes]:
    """The steps that a session took, but for a last chunk that was refused."""
    state = state_of(session)
    return counted(state.taken) if session.envelopes_refused else counted(state.taken, state.last)


def taken(sessions: Sequence[StoredSession]) -> Counter[bytes]:
    """The steps that all of `sessions` took."""
    every: Counter[bytes] = Counter()
    for session in sessions:
        every.update(taken_by(session))
    return every


def is_unfinished(session: StoredSession) -> bool:
    """Whether something of a session is still to be delivered or to be closed."""
    return session.state in {SessionState.RECORDING, SessionState.ENDED}
