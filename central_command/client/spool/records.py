"""What a spool holds: its records, bounds and errors, and the tables of its file."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from central_command.client.contract.signing import Draft
from persistence.files.regular import check_file

_BUSY_TIMEOUT_S = 30.0
_SCHEMA_VERSION = 3
_SCHEMA = """
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    state TEXT NOT NULL,
    owner TEXT,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    machine_fingerprint TEXT NOT NULL,
    app_version_hash TEXT NOT NULL,
    client_version TEXT NOT NULL,
    private_key BLOB,
    shared_secret BLOB,
    next_position INTEGER NOT NULL DEFAULT 0,
    next_sequence INTEGER NOT NULL DEFAULT 0,
    chunks INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    envelopes_accepted INTEGER NOT NULL DEFAULT 0,
    envelopes_refused INTEGER NOT NULL DEFAULT 0,
    steps_accepted INTEGER NOT NULL DEFAULT 0,
    points REAL,
    credited_steps INTEGER,
    problem TEXT,
    source TEXT,
    source_state BLOB NOT NULL DEFAULT x'',
    moved_to TEXT,
    moves INTEGER NOT NULL DEFAULT 0,
    created_s REAL NOT NULL,
    close_answer TEXT,
    contributor_id TEXT
) STRICT;
CREATE INDEX sessions_by_source ON sessions (source) WHERE source IS NOT NULL;
CREATE INDEX sessions_by_state ON sessions (state, created_s);
CREATE TABLE envelopes (
    session_id TEXT NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    state TEXT NOT NULL,
    split INTEGER NOT NULL,
    signed INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    body BLOB,
    answer TEXT,
    PRIMARY KEY (session_id, position)
) STRICT;
CREATE INDEX envelopes_waiting ON envelopes (session_id, position, bytes) WHERE state = 'waiting';
CREATE TABLE kept_steps (
    n INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    text BLOB NOT NULL
) STRICT;
CREATE INDEX kept_steps_by_session ON kept_steps (session_id, n, length(text));
CREATE TABLE dropped (name TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""


class _Named(msgspec.Struct, frozen=True):
    """Of what a program noted beside a session, whom its chunks name."""

    contributor_id: str


def _add_contributors(connection: sqlite3.Connection) -> None:
    """Say of each session for whom it is to be opened, as far as the program that put it has noted that."""
    connection.execute("ALTER TABLE sessions ADD COLUMN contributor_id TEXT")
    rows = connection.execute("SELECT session_id, source_state FROM sessions WHERE state IN ('recording', 'ended')")
    for session_id, noted in rows.fetchall():
        for decode in (msgspec.msgpack.decode, msgspec.json.decode):  # of a file, or as it was recorded
            with suppress(msgspec.DecodeError):
                named = decode(noted, type=_Named).contributor_id
                connection.execute("UPDATE sessions SET contributor_id = ? WHERE session_id = ?", (named, session_id))


def _add_close_answer(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE sessions ADD COLUMN close_answer TEXT")


_CHANGES = {1: _add_close_answer, 2: _add_contributors}
"""What makes a spool of this version one of the next."""


class SpoolError(Exception):
    """The spool cannot be opened, read or written; the text is one sentence that says which file and why."""


class SpoolFullError(SpoolError):
    """A bound of the spool is reached; nothing was put, and no sequence number was used."""


class SessionDoneError(SpoolError):
    """The session takes no more envelopes: it was given up, or closed and this is no feedback."""


class SessionsInUseError(SpoolError):
    """Another program that is alive has sessions for that server; nothing was changed."""


class SpoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of what waits in a spool, and of what is remembered of sessions that are done."""

    envelopes_max: int = 20_000
    bytes_max: int = 1_073_741_824
    done_sessions_max: int = 1_000
    """Sessions without a source that are remembered once they are done; those with a source always are."""


class SessionState(StrEnum):
    """`RECORDING`: more envelopes may come. `ENDED`: no more will come, deliver and close. The others are final.

    `CLOSED`: everything was answered and the server has closed it. `FAILED`: the rest was given up; `problem` says why.
    """

    RECORDING = "recording"
    ENDED = "ended"
    CLOSED = "closed"
    FAILED = "failed"

    @property
    def done(self) -> bool:
        """Whether nothing is to be done for it any more."""
        return self in {SessionState.CLOSED, SessionState.FAILED}


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /v1/sessions/open` is told, but for the session's id and key."""

    provider: str
    model: str
    machine_fingerprint: str
    app_version_hash: str
    client_version: str
    contributor_id: str | None = None
    """For whom; None where an earlier version of this program did not say."""


class StoredSession(msgspec.Struct, frozen=True, kw_only=True):
    """One session as the spool holds it. `opened` says that its key exchange has happened.

    `source` is what it was read from, in the words of whoever put it there (a transcript's path and its own session
    id, say), `source_state` how far, in its own format; both are opaque here. `points` and `credited_steps` are what
    the server's answer to the close said, `close_answer` its other members, a JSON object.
    """

    session_id: str
    url: str
    state: SessionState
    opening: Opening
    public_key: str
    opened: bool
    next_sequence: int
    chunks: int
    steps: int
    envelopes: int
    envelopes_accepted: int
    envelopes_refused: int
    steps_accepted: int
    points: float | None
    credited_steps: int | None
    close_answer: str | None
    problem: str | None
    source: str | None
    source_state: bytes
    moved_to: str | None = None
    """The session that took over what was left, when the server took no more for this one."""


class Unsigned(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope that is to be put: its type, how many steps it holds, and all of it but the attestation."""

    kind: str
    draft: Draft
    steps: int = 0


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits of one session: envelopes, their bytes, and the position of the first of them."""

    envelopes: int
    bytes: int
    first: int | None


class StoredEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """A signed envelope that waits to be sent: `body` as it is, every time."""

    session_id: str
    position: int
    kind: str
    steps: int
    body: bytes


class SpoolStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What waits now, and what was ever dropped because the spool was full."""

    sessions: int
    envelopes: int
    bytes: int
    envelopes_dropped: int
    steps_dropped: int


class SpoolTotals(msgspec.Struct, frozen=True):
    """Of one server: sessions, those that it took something of, those not done, steps that it took, points that it
    answered, envelopes that wait, and those of them that were recorded, not read from a file.

    `steps_kept` are in no envelope yet: a recorder makes one of them.
    """

    sessions: int
    sessions_delivered: int
    sessions_open: int
    steps_accepted: int
    points: float
    envelopes_waiting: int
    recorded_waiting: int
    steps_kept: int


class WaitingFor(msgspec.Struct, frozen=True):
    """What was never delivered to a server: sessions, steps in them, and of those the ones that are in no file."""

    url: str
    sessions: int
    steps: int
    steps_recorded: int


def spool_path(environment: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/central-command/spool.db`, or `~/.local/state/...` (XDG Base Directory Specification)."""
    base = environment.get("XDG_STATE_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return home / "central-command" / "spool.db"


def check_spool(path: Path) -> None:
    """Raise SpoolError when something that is no file stands at `path`: SQLite might wait for it for ever."""
    try:
        check_file(path)
    except OSError as error:
        raise SpoolError(f"The spool {path} cannot be opened: {error.strerror}.") from error


def connect(path: Path) -> sqlite3.Connection:
    """Open the spool's file and give a new one its tables; for use by several threads, one at a time.

    Transactions are begun by the caller. Raises SpoolError for a file that is none, or of a later version.
    """
    connection: sqlite3.Connection | None = None
    check_spool(path)
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA auto_vacuum = FULL")  # of a new file, so first of all
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
        for before in range(version or _SCHEMA_VERSION, _SCHEMA_VERSION):
            _CHANGES[before](connection)
        if version < _SCHEMA_VERSION:
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise SpoolError(f"The spool {path} cannot be opened: {error}.") from error
    if version > _SCHEMA_VERSION:
        connection.close()
        raise SpoolError(f"The spool {path} is of a later version of this program.")
    return connection
