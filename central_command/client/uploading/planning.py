"""What an upload would send, without sending or keeping anything: the bodies are written, signed with no key, counted.

What is already in the spool is read from a copy of it, so that not even a lock file is left behind.
"""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from central_command.client.contract.chunking import has_room, next_chunk
from central_command.client.contract.signing import Draft
from central_command.client.contract.steps import Step
from central_command.client.spool.records import SpoolError, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.uploading.authoring import Author, Work, first_state
from central_command.client.uploading.uploads import Uploads, is_unfinished, state_of, taken, taken_by, within, without

_NO_HASH = "0" * 64
_NO_SECRET = bytes(32)
_VERSION = "0.0.0"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent of one file: sessions that would be opened or gone on with, steps by type, and bodies."""

    sessions: int
    steps: dict[str, int]
    envelopes: int
    bytes: int
    continues: bool


class _Bodies:
    def __init__(self) -> None:
        self.sessions = self.envelopes = self.bytes = 0

    def add(self, draft: Draft | None, sequence: int) -> None:
        if draft is not None:
            self.envelopes += 1
            self.bytes += len(draft.signed(_NO_SECRET, sequence, _NO_HASH))


def plan(uploads: Uploads | None, work: Work, steps: Sequence[Step], *, now_s: float) -> Plan:
    """What `Sender.send(..., close=True)` would send; `uploads` is of a copied spool, None when there is none."""
    sessions = uploads.sessions(work.source) if uploads is not None else []
    open_one = next((session for session in sessions if is_unfinished(session)), None)
    queue = without(steps, taken(sessions))
    types: Counter[str] = Counter(step.type for step in queue)
    bodies = _Bodies()
    if uploads is not None and open_one is not None:
        queue = _go_on(bodies, uploads.spool, open_one, queue, steps)
    while queue:
        queue = _fill_session(bodies, work, queue, now_s)
    return Plan(
        sessions=bodies.sessions,
        steps=dict(types),
        envelopes=bodies.envelopes,
        bytes=bodies.bytes,
        continues=open_one is not None,
    )


def _go_on(
    bodies: _Bodies, spool: Spool, session: StoredSession, queue: list[Step], steps: Sequence[Step]
) -> list[Step]:
    """Count what an unfinished session would still send, and return the steps that it would not take."""
    bodies.sessions += 1
    if session.opened and session.envelopes > session.envelopes_accepted + session.envelopes_refused:
        waiting = spool.next_waiting(session.session_id)
        assert waiting is not None
        bodies.envelopes += 1
        bodies.bytes += len(waiting.body)
    state = state_of(session)
    if state.closing or session.envelopes_refused:
        return queue
    author = Author(session.session_id, state, session.opening.client_version)
    chunks, size, sent = session.chunks, state.bytes_sent, list(within(steps, taken_by(session)))
    while queue and has_room(chunks, size, chunk := next_chunk(queue, len(sent) + 1, state.placing.place)):
        bodies.add(author.chunk(chunks, chunk), chunks)
        chunks, size = chunks + 1, size + len(chunk.trajectory_log)
        sent, queue = sent + queue[: chunk.steps], queue[chunk.steps :]
    if sent:
        bodies.add(author.close(tuple(sent), chunks), chunks)
        bodies.add(author.feedback(tuple(sent)), chunks + 1)
    return queue


def _fill_session(bodies: _Bodies, work: Work, queue: list[Step], now_s: float) -> list[Step]:
    session_id = "sess_00000000-0000-0000-0000-000000000000"
    state = first_state(work, queue, contributor_id="0" * 32, now_s=now_s)
    author = Author(session_id, state, _VERSION)
    bodies.sessions += 1
    chunks = size = taken_steps = 0
    while taken_steps < len(queue):
        chunk = next_chunk(queue[taken_steps:], taken_steps + 1, state.placing.place)
        if not has_room(chunks, size, chunk):
            break
        bodies.add(author.chunk(chunks, chunk), chunks)
        chunks, size, taken_steps = chunks + 1, size + len(chunk.trajectory_log), taken_steps + chunk.steps
    mine = tuple(
        msgspec.structs.replace(step, step=number, timestamp=state.placing.place(step.timestamp))
        for number, step in enumerate(queue[:taken_steps], start=1)
    )
    bodies.add(author.close(mine, chunks), chunks)
    bodies.add(author.feedback(mine), chunks + 1)
    return queue[taken_steps:]


@contextmanager
def copied_uploads(path: Path, *, url: str) -> Iterator[Uploads | None]:
    """The uploads that the spool at `path` knows, in a copy that is deleted again; None when there is no spool."""
    if not path.exists():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="central-command-") as folder:
        copy = Path(folder) / "spool.db"
        try:
            with (
                closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
        except sqlite3.Error as error:
            raise SpoolError(f"The spool {path} cannot be read: {error}.") from error
        with Spool(copy) as spool, closing(Uploads(spool, Path(folder) / "uploads.lock", url=url)) as uploads:
            yield uploads
