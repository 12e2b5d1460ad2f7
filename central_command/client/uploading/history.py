"""What was sent before of which transcript, as the spool knows it: so a step is sent once, however often one tries.

A *source* is one session of an agent, wherever its file lies. Each of the sessions that came from it carries, in its
`source_state`, a digest of every step that it took. A digest joins the spool in the very transaction that signs the
envelope with the step, so "taken" and "signed" can never differ. What is still to be sent is what the file holds more
often than the digests do. That survives a file that grows, moves, or is written anew with other line breaks; a file of
which the beginning has changed sends only what is new.

Eight bytes of digest a step are kept for good: 4 kB for a session of 500 steps.
"""

import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from central_command.client.contract.chunking import encode_step
from central_command.client.contract.steps import Step
from central_command.client.spool.records import SessionState, SpoolError, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.uploading.timing import Placing

DIGEST_BYTES = 8
_LOCK_OFFSET_BITS = 62
ENDED_BY_SERVER = "the server had already closed the session"
"""Kept as the problem of a session whose last chunks came too late: their steps go into a further session."""
SENT_ANEW = "given up, because its file was sent anew"


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """What a session of the spool knows of its source: written with each envelope, read when it is taken up again.

    `taken` are the digests of the steps in all of its chunks, in order; `bytes_sent` counts their JSON text.
    """

    path: str
    contributor_id: str
    metadata: dict[str, str | None]
    continues: str | None = None
    placing: Placing = Placing()
    taken: bytes = b""
    bytes_sent: int = 0

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
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()


def counted(text: bytes) -> Counter[bytes]:
    """How often each digest occurs in `text`."""
    return Counter(text[at : at + DIGEST_BYTES] for at in range(0, len(text), DIGEST_BYTES))


def without_undelivered(source_state: bytes, chunks: Sequence[tuple[int, bool]]) -> bytes:
    """The state of a session that ends early: of its chunks (so many steps, and whether the server has them)."""
    state = _DECODER.decode(source_state)
    kept, at = [], 0
    for steps, is_delivered in chunks:
        end = at + steps * DIGEST_BYTES
        if is_delivered:
            kept.append(state.taken[at:end])
        at = end
    return msgspec.structs.replace(state, taken=b"".join(kept)).encode()


class History:
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
    """The steps that a session took."""
    return counted(state_of(session).taken)


def taken(sessions: Iterable[StoredSession]) -> Counter[bytes]:
    """The steps that all of `sessions` took."""
    every: Counter[bytes] = Counter()
    for session in sessions:
        every.update(taken_by(session))
    return every


def failure_of(sessions: Iterable[StoredSession]) -> str | None:
    """Why the source of `sessions` cannot be delivered whole, ever; None as long as it can."""
    for session in sessions:
        if not is_unfinished(session) and session.problem and session.problem != ENDED_BY_SERVER:
            return session.problem
    return None


def is_unfinished(session: StoredSession) -> bool:
    """Whether something of a session is still to be delivered or to be closed."""
    return session.state in {SessionState.RECORDING, SessionState.ENDED}


def has_undelivered(session: StoredSession) -> bool:
    """Whether something of a session is signed, or about to be, and not answered."""
    return is_unfinished(session) and session.envelopes > session.envelopes_accepted + session.envelopes_refused
