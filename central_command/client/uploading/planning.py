"""What an upload would send, without sending or keeping anything: the bodies are written, signed with no key, counted.

What is already in the spool is read from a copy of it, so that not even a lock file is left behind.
"""

import sqlite3
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from central_command.client.contract.placing import Placing
from central_command.client.contract.signing import Draft
from central_command.client.spool.records import Opening, SessionState, SpoolError, StoredSession, check_spool
from central_command.client.spool.spool import Spool
from central_command.client.uploading.authoring import Author, Work, first_state
from central_command.client.uploading.cutting import Cutting
from central_command.client.uploading.history import History, is_unfinished, state_of, steps_waiting
from central_command.client.uploading.scrubbing import OwnScrubbing
from central_command.client.uploading.survey import Survey

_NO_HASH = "0" * 64
_NO_SECRET = bytes(32)
_NO_ID = "sess_00000000-0000-0000-0000-000000000000"
_VERSION = "0.0.0"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent of one file: sessions that would be opened or gone on with, steps by type, and bodies."""

    sessions: int
    steps: dict[str, int]
    envelopes: int
    bytes: int
    continues: bool
    placing: Placing | None = None
    """How the first session's times would be moved; None when no step is left, or the file holds no times."""
    adjusted: int = 0
    """Steps of the file whose times are wrong and would be put between their neighbours."""
    is_further: bool = False
    """Whether a session of the file has ended already."""
    is_planned: bool = False
    """Whether what was sent before would be sent by another file of the same run."""
    waiting_steps: int = 0
    """Steps that an earlier try has signed, which would be sent first."""
    provider: str = ""
    """Whose session it is."""
    findings: dict[str, int] = {}
    """How much would be scrubbed, by category."""


def plan(history: History, work: Work, survey: Survey, *, now_s: float, scrubs: bool) -> Plan:
    """What `Feeder.feed(..., close=True)` would send; `history` is of a copied spool, where it counts as sent then."""
    before = history.sessions(work.source)
    placing: Placing | None = None
    open_one = next((session for session in before if is_unfinished(session)), None)
    scrubbing = OwnScrubbing() if scrubs else None
    bodies = _Bodies(Cutting(survey, before, open_one, now_s=lambda: now_s, scrubbing=scrubbing))
    sessions = 0
    if open_one is not None:
        sessions += 1
        bodies.add_waiting(history.spool, open_one)
        if open_one.state is SessionState.RECORDING:
            author = Author(
                open_one.session_id, state_of(open_one), open_one.opening.client_version, is_scrubbed=scrubs
            )
            bodies.add_session(author, steps=open_one.steps, chunks=open_one.chunks)
    while bodies.cutting.fill():
        sessions += 1
        placing = placing or bodies.cutting.placing()
        state = first_state(work, contributor_id="0" * 32, placing=bodies.cutting.placing())
        bodies.add_session(Author(_NO_ID, state, _VERSION, is_scrubbed=scrubs), steps=0, chunks=0)
    if bodies.records:
        _note(history, work, bytes(bodies.records), placing or Placing())
    return Plan(
        sessions=sessions,
        steps=dict(bodies.cutting.types),
        envelopes=bodies.envelopes,
        bytes=bodies.bytes,
        continues=open_one is not None,
        placing=placing if survey.transcript.started_s is not None else None,
        adjusted=bodies.cutting.adjusted,
        is_further=any(not is_unfinished(session) for session in before),
        is_planned=any(each.opening.machine_fingerprint == _NO_HASH for each in before),
        waiting_steps=steps_waiting(before),
        provider=work.provider,
        findings=dict(bodies.findings),
    )


def _note(history: History, work: Work, records: bytes, placing: Placing) -> None:
    """Put a session of these steps into the copied spool: a copy of the file would find it there."""
    state = first_state(work, contributor_id="0" * 32, placing=placing)
    opening = Opening(
        provider=work.provider,
        model=work.model,
        machine_fingerprint=_NO_HASH,
        app_version_hash=_NO_HASH,
        client_version=_VERSION,
    )
    session = history.spool.add_session(
        f"sess_{uuid.uuid4()}",
        url=history.url,
        opening=opening,
        source=work.source,
        source_state=msgspec.structs.replace(state, records=records).encode(),
    )
    history.spool.closed(session.session_id)


class _Bodies:
    """What would be sent, counted."""

    def __init__(self, cutting: Cutting) -> None:
        self.cutting = cutting
        self.envelopes = self.bytes = 0
        self.records = bytearray()
        """Of the steps that would be sent."""
        self.findings: Counter[str] = Counter()

    def add_waiting(self, spool: Spool, session: StoredSession) -> None:
        """Count what was signed before and not delivered."""
        backlog = spool.backlog(session.session_id)
        self.envelopes += backlog.envelopes
        self.bytes += backlog.bytes

    def add_session(self, author: Author, *, steps: int, chunks: int) -> None:
        """Count all that a session still takes which has so many steps and chunks, and its end."""
        placing = author.state.placing
        for piece in self.cutting.pieces(author, steps=steps, chunks=chunks):
            self._add(piece.draft, chunks)
            self.records += piece.records
            self.findings.update(piece.findings)
            chunks, placing = chunks + 1, piece.placing
        ending = self.cutting.end()
        if ending.steps:
            for each in author.end(ending, chunks, placing):
                self._add(each.draft, chunks)

    def _add(self, draft: Draft, sequence: int) -> None:
        self.envelopes += 1
        self.bytes += len(draft.signed(_NO_SECRET, sequence, _NO_HASH))


@contextmanager
def copied_history(path: Path, *, url: str, resume: bool) -> Iterator[History]:
    """What the spool at `path` knows of uploads, in a copy that is deleted again; nothing without `resume`."""
    check_spool(path)
    with tempfile.TemporaryDirectory(prefix="central-command-") as folder:
        copy = Path(folder) / "spool.db"
        if resume and path.exists():
            try:
                with (
                    closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source,
                    closing(sqlite3.connect(copy)) as target,
                ):
                    source.backup(target)
            except sqlite3.Error as error:
                raise SpoolError(f"The spool {path} cannot be read: {error}.") from error
        with Spool(copy) as spool, closing(History(spool, Path(folder) / "uploads.lock", url=url)) as history:
            yield history
