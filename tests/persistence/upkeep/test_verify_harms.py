"""Whatever harm is done to a data directory is named by `verify`, and nothing is where there is none."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from persistence.databases.database import SchemaRefused
from tests.persistence.upkeep.harms import append, change, execute, files_of, line_with, lines_of
from tests.stored_state import findings

Harm = Callable[[Path], None]


def flip_a_bit(root: Path) -> None:
    path = files_of(root, "refused")[0]
    path.write_bytes(path.read_bytes().replace(b"schema", b"schemb", 1))


def take_a_line_out(root: Path) -> None:
    path = files_of(root, "envelopes")[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


def take_the_last_line_out(root: Path) -> None:
    path = files_of(root, "trajectories")[-1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def double(journal: str, having: bytes) -> Harm:
    return lambda root: append(root, journal, line_with(root, journal, having))


def forge(journal: str, having: bytes, old: bytes, new: bytes) -> Harm:
    return lambda root: append(root, journal, line_with(root, journal, having), old=old, new=new)


def alter(journal: str, having: bytes, old: bytes, new: bytes) -> Harm:
    return lambda root: change(root, journal, having, old, new)


def run(database: str, sql: str) -> Harm:
    return lambda root: execute(root, database, sql)


def another_key(root: Path) -> None:
    (root / "keys" / "master.key").write_text(base64.b64encode(bytes(range(32))).decode())


ENVELOPE_ID, ANOTHER_ID = b'"envelope_id":"env_', b'"envelope_id":"env_x'
TRAJECTORY_ID, ANOTHER_TRAJECTORY_ID = b'"trajectory_id":"traj_', b'"trajectory_id":"traj_x'
TOLD, OPEN = b'"session_id":"sess_told"', b'"session_id":"sess_open"'


def chunk_after_the_end(root: Path) -> None:
    chunk = line_with(root, "envelopes", b'"session_id":"sess_http"').replace(b'"sequence":0', b'"sequence":1')
    append(root, "envelopes", chunk, old=ENVELOPE_ID, new=ANOTHER_ID)


def a_sequence_that_goes_back(root: Path) -> None:
    chunk = line_with(root, "envelopes", TOLD).replace(b'"sequence":0', b'"sequence":3')
    append(root, "envelopes", chunk, old=ENVELOPE_ID, new=ANOTHER_ID)


def refuse_what_was_accepted(root: Path) -> None:
    refused = lines_of(root, "refused")[0].replace(b'"sequence":1', b'"sequence":0')
    append(root, "refused", refused, old=ENVELOPE_ID, new=ANOTHER_ID)


def trajectory_of_an_open_session(root: Path) -> None:
    line = lines_of(root, "trajectories")[0].replace(TRAJECTORY_ID, ANOTHER_TRAJECTORY_ID)
    append(root, "trajectories", line, old=TOLD, new=OPEN)


LATER = "written by a later version of this program, or damaged"
CHANGED_TRIGGER = """
DROP TRIGGER credits_final;
CREATE TRIGGER credits_final AFTER UPDATE ON credits BEGIN SELECT 1; END;
"""

HARMS: dict[str, tuple[Harm, str]] = {
    "a flipped bit in a line": (flip_a_bit, "the journal ends at 0, with a line that fails its checksum at byte 0"),
    "a line taken out": (take_a_line_out, "envelopes: line number 3 where 2 belongs"),
    "the last line taken out": (take_the_last_line_out, "has seen line 2, but the journal ends at 1"),
    "a day's file taken away": (lambda root: files_of(root, "envelopes")[0].unlink(), "where 1 belongs"),
    "an envelope doubled under a new number": (double("envelopes", TOLD), "for a second time; the first is line 1"),
    "feedback doubled under a new number": (double("envelopes", b'"USER_FEEDBACK"'), "for a second time"),
    "a close doubled under a new number": (double("envelopes", b'"SERVER_CLOSE"'), "for a second time"),
    "a refusal doubled under a new number": (double("refused", b"schema"), "refused: line 2 "),
    "a trajectory doubled under a new number": (double("trajectories", TOLD), "trajectories: line 3 at byte"),
    "a second trajectory under another id": (
        forge("trajectories", TOLD, TRAJECTORY_ID, ANOTHER_TRAJECTORY_ID),
        "is a second trajectory of session 'sess_told', or has its id; the first is line 1",
    ),
    "a trajectory under an id that is taken": (
        forge("trajectories", TOLD, TOLD, OPEN),
        "is a second trajectory of session 'sess_open', or has its id; the first is line 1",
    ),
    "another envelope with a sequence that is taken": (
        forge("envelopes", TOLD, ENVELOPE_ID, ANOTHER_ID),
        "or the sequence 0 of session 'sess_told', for a second time; the first is line 1",
    ),
    "a session that ends twice": (
        forge("envelopes", b'"SERVER_CLOSE"', ENVELOPE_ID, ANOTHER_ID),
        "ends session 'sess_http', which line",
    ),
    "a chunk after the end": (chunk_after_the_end, "is a chunk of session 'sess_http', which line"),
    "a sequence that goes back": (
        a_sequence_that_goes_back,
        "of session 'sess_told' has sequence 3, and the one",
    ),
    "a refusal of what was accepted": (refuse_what_was_accepted, "of the envelopes journal accepts: sequence 0"),
    "a trajectory of an open session": (trajectory_of_an_open_session, "'sess_open', which has no chunk, or was not"),
    "a kind of line of a later version": (
        forge("envelopes", b'"SERVER_CLOSE"', b'"SERVER_CLOSE"', b'"NEWER"'),
        f"the member type is 'NEWER', which is no kind of envelope: {LATER}",
    ),
    "an end of a later version": (forge("envelopes", b'"SERVER_CLOSE"', b"http_close", b"newer"), LATER),
    "an end of a later version in a trajectory": (
        forge("trajectories", TOLD, b'"closed_by":"session_close"', b'"closed_by":"newer"'),
        LATER,
    ),
    "a batch that was never one": (
        alter("envelopes", TOLD, b'"batch":1,', b'"batch":9,'),
        "it says that it is of batch 9, which it neither begins nor goes on with",
    ),
    "a line of the future": (alter("envelopes", TOLD, b'"at":"20', b'"at":"21'), "after the day of its file"),
    "a dropped trigger": (run("ledger.db", "DROP TRIGGER credits_balanced"), "the trigger credits_balanced is missing"),
    "a dropped index": (
        run("sessions.db", "DROP INDEX processed_envelopes_by_sequence"),
        "the index processed_envelopes_by_sequence is missing",
    ),
    "a dropped table": (run("sessions.db", "DROP TABLE sequence_gaps"), "the table sequence_gaps is missing"),
    "a changed trigger": (run("ledger.db", CHANGED_TRIGGER), "the trigger credits_final is not as this version makes"),
    "an index more": (run("sessions.db", "CREATE INDEX mine ON sessions (model)"), "index 'mine' is none of its own"),
    "a column more": (run("ledger.db", "ALTER TABLE credits ADD COLUMN mine"), "the table credits is not as"),
    "another master key": (another_key, "is not the one that sealed this data directory's sessions"),
    "a master key that others can read": (lambda root: (root / "keys" / "master.key").chmod(0o644), "has mode 0644"),
    "a check of the key in another format": (
        run("sessions.db", "UPDATE key_check SET sealed = 'v2' || substr(sealed, 3)"),
        "sealed in the format 'v2', which is not known",
    ),
    "a check of the key that was changed": (
        run("sessions.db", "UPDATE key_check SET sealed = substr(sealed, 1, 20) || 'AAAA' || substr(sealed, 25)"),
        "the key_check of sessions.db is damaged",
    ),
    "an opening without its keys": (
        run("sessions.db", "UPDATE sessions SET shared_secret = '' WHERE session_id = 'sess_open'"),
        "a session that was opened has its keys",
    ),
    "a skipped sequence that is not noted": (
        run("sessions.db", "DELETE FROM sequence_gaps"),
        "each sequence number of a session was accepted, refused or skipped",
    ),
    "a session counted for another model": (
        run("sessions.db", "UPDATE models SET sessions = sessions + 1 WHERE name = 'o4-mini'"),
        "each session with a chunk is counted for one model",
    ),
    "a session credited under another model": (
        run("sessions.db", "UPDATE trajectories SET model = 'o4-mini' WHERE session_id = 'sess_told'"),
        "a session is credited under the model and the agent that it is counted for",
    ),
    "other points in a trajectory than were credited": (
        run("sessions.db", "UPDATE trajectories SET points = points + 1 WHERE session_id = 'sess_told'"),
        "credits are what trajectories were scored: ('sess_told'",
    ),
    "another contributor of a trajectory than was credited": (
        run("sessions.db", "UPDATE trajectories SET contributor_id = 'x' WHERE session_id = 'sess_told'"),
        "credits are what trajectories were scored: ('sess_told'",
    ),
    "points in a balance that nobody was credited": (
        run("ledger.db", "UPDATE balances SET total_points = total_points + 1"),
        "balances are the sums of credits",
    ),
    "a session in a balance that nobody was credited for": (
        run("ledger.db", "UPDATE balances SET total_sessions = total_sessions + 1"),
        "balances are the sums of credits",
    ),
    "points in a day that no trajectory has": (
        run("sessions.db", "UPDATE daily SET points = points + 1"),
        "days, models, providers and totals agree",
    ),
    "a file that is none of the journal's": (
        lambda root: (root / "refused" / "notes.jsonl").touch(),
        "'notes.jsonl' in its folder",
    ),
}


@pytest.fixture(autouse=True)
def _nothing_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server runs here whose sums could become right."""
    monkeypatch.setattr("persistence.upkeep.verification.SETTLING_S", 0.0)


@pytest.mark.parametrize("harm", HARMS)
async def test_harm_is_named(stored: Path, harm: str) -> None:
    do, sentence = HARMS[harm]
    do(stored)
    found = await findings(stored)
    assert any(sentence in finding for finding in found), found
    assert not any("a database cannot be read" in finding for finding in found), found


@pytest.mark.parametrize("database", ["sessions.db", "ledger.db"])
@pytest.mark.parametrize("version", [99, 0])
async def test_databases_of_another_version_are_left_to_it(stored: Path, database: str, version: int) -> None:
    """Nothing else can be said of them, so nothing else is."""
    sql = "INSERT INTO schema_migrations VALUES (99, '')" if version else "DELETE FROM schema_migrations"
    execute(stored, database, sql)
    with pytest.raises(SchemaRefused, match=f"{database} has schema version {version}"):
        await findings(stored)


async def test_a_long_name_in_a_line_is_not_said_as_a_whole(stored: Path) -> None:
    close = line_with(stored, "envelopes", b'"SERVER_CLOSE"')
    append(stored, "envelopes", close, old=b"http_close", new=b"x" * 100_000)
    (finding,) = await findings(stored)
    assert len(finding) < 500
