"""Torn and damaged journals, lost databases, wrong keys: the server mends what it can and says what it cannot."""

import base64
import shutil
from pathlib import Path

import pytest

from tests.crash.acknowledged import lines_of, rows, tables
from tests.crash.consistency import check_stored
from tests.persistence.upkeep.harms import append
from tests.running_service import running
from tests.server_process import CLOSE, INGEST, OPEN, ServerFailedError, ServerProcess, run_command
from tests.signing_client import SigningClient, dumps
from tests.stored_state import findings

DATABASES = ("sessions.db", "ledger.db")


def journal_file(root: Path, journal: str = "envelopes") -> Path:
    """The last file of a journal."""
    return max((root / journal).glob("*.jsonl"))


def refused(root: Path, **settings: str) -> ServerFailedError:
    """Start a server that must not start; return how it ended."""
    with pytest.raises(ServerFailedError) as caught:
        ServerProcess(root, settings=settings).start()
    assert caught.value.stderr.startswith("central-command: ")
    assert caught.value.stderr.count("\n") == 1, f"not one sentence: {caught.value.stderr}"
    return caught.value


def session_through(server: ServerProcess, session_id: str) -> SigningClient:
    """Open a session, send a chunk, close it: the server works."""
    client = SigningClient(session_id)
    client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
    for body in (client.chunk(), client.close()):
        assert server.post(INGEST, body).members["accepted"] is True
    return client


def lose(root: Path, *names: str) -> None:
    """Delete databases with what belongs to them."""
    for name in names:
        for path in root.glob(f"{name}*"):
            path.unlink()


@pytest.mark.parametrize("journal", ["envelopes", "refused", "trajectories"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.999, 1.0])
async def test_a_torn_last_line_is_moved_aside(filled: Path, journal: str, share: float) -> None:
    """Whatever a crash left of a line that was never acknowledged is cut off, kept, and all else is as before."""
    before = tables(filled)
    last = lines_of(filled, journal)[-1]
    torn = last[: max(1, int(len(last) * share))]  # a whole line without its newline is torn as well
    with journal_file(filled, journal).open("ab") as file:
        file.write(torn)
    async with running(filled) as run:
        assert tables(run.root) == before
    assert [path.read_bytes() for path in (filled / "torn").iterdir()] == [torn]
    assert await findings(filled) == []


@pytest.mark.parametrize("cut", [1, 2, 80, 400])
async def test_a_journal_cut_within_its_last_line_loses_that_line_only(filled: Path, cut: int) -> None:
    """With the databases gone, nobody knows of the cut line; the lines before it are all projected."""
    file = journal_file(filled)
    octets = file.read_bytes()
    with file.open("r+b") as opened:
        opened.truncate(len(octets) - cut)
    whole = octets[: len(octets) - cut].count(b"\n")
    lose(filled, *DATABASES)
    async with running(filled):
        assert len(lines_of(filled, "envelopes")) == whole
    assert rows(filled / "sessions.db", "SELECT count(*) FROM processed_envelopes") == [(whole,)]
    assert await findings(filled) == []


@pytest.mark.parametrize("cut", [1, 400, 100_000])
def test_a_journal_that_lost_what_the_databases_saw_is_refused(filled: Path, cut: int) -> None:
    """Cut behind the projected position: acknowledged data is gone, and the server says so instead of starting."""
    file = journal_file(filled)
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.truncate(max(0, size - cut))
    failed = refused(filled)
    assert failed.status == 3
    assert file.name in failed.stderr


@pytest.mark.parametrize("journal", ["envelopes", "refused", "trajectories"])
def test_a_flipped_bit_is_refused_where_recovery_reads(filled: Path, journal: str) -> None:
    """A line in the middle fails its checksum, good ones follow: damage, said with its place, exit status 3."""
    _flip_a_bit(filled, journal)
    lose(filled, *DATABASES)
    failed = refused(filled)
    assert failed.status == 3
    assert journal in failed.stderr
    assert journal_file(filled, journal).name in failed.stderr
    assert not (filled / "torn").exists()


def test_a_flipped_bit_after_the_projected_position_is_refused(filled: Path) -> None:
    """The databases are those of earlier, so that recovery reads the tail, in which a bit is flipped."""
    lose(filled, *DATABASES)
    for path in (filled.parent / "early").iterdir():
        shutil.copy(path, filled / path.name)
    seen = dict(rows(filled / "sessions.db", "SELECT journal, n FROM projection_positions"))["envelopes"]
    lines = lines_of(filled, "envelopes")
    assert seen < len(lines) - 2
    _flip_a_bit(filled, "envelopes", line=seen + 1)
    assert refused(filled).status == 3


def test_a_flipped_bit_before_the_projected_position_is_found_by_verify(filled: Path) -> None:
    """The start reads only the tail; `verify` reads everything, and names the file."""
    _flip_a_bit(filled, "envelopes")
    done = run_command("verify", "--data-dir", str(filled), cwd=filled.parent)
    assert done.returncode == 1
    assert journal_file(filled).name in done.stdout


DOUBLED = {
    "envelopes": "for a second time; the first is line 1",
    "refused": "for a second time; the first is line 1",
    "trajectories": "is a second trajectory of session 'sess_closed_0', or has its id; the first is line 1",
}


@pytest.mark.parametrize("journal", DOUBLED)
@pytest.mark.parametrize("lost", [(), DATABASES], ids=["", "without the databases"])
def test_a_line_that_is_there_twice_is_refused(filled: Path, journal: str, lost: tuple[str, ...]) -> None:
    """Under the number that follows, with the right checksum: only what it says tells that it was there before."""
    append(filled, journal, lines_of(filled, journal)[0] + b"\n")
    lose(filled, *lost)
    for _ in range(2):
        failed = refused(filled)
        assert failed.status == 3
        assert f"the {journal} journal is damaged: line {len(lines_of(filled, journal))} at byte" in failed.stderr
        assert DOUBLED[journal] in failed.stderr
    done = run_command("rebuild", "--data-dir", str(filled), cwd=filled.parent)
    assert (done.returncode, done.stderr) == (3, failed.stderr)


@pytest.mark.parametrize("journal", ["envelopes", "trajectories"])
def test_a_line_of_a_later_version_is_refused(filled: Path, journal: str) -> None:
    """Whole, and with the right checksum: it is not cut off, by a start or by `rebuild`, which say where it stands."""
    closed = next(line for line in lines_of(filled, journal) if b'"closed_by":"' in line) + b"\n"
    append(filled, journal, closed, old=b'"closed_by":"', new=b'"closed_by":"later_')
    before = journal_file(filled, journal).read_bytes()
    failed = refused(filled)
    assert failed.status == 3
    assert f"the {journal} journal holds line {len(lines_of(filled, journal))} at byte" in failed.stderr
    assert "written by a later version of this program, or damaged" in failed.stderr
    done = run_command("rebuild", "--data-dir", str(filled), cwd=filled.parent)
    assert (done.returncode, done.stderr) == (3, failed.stderr)
    done = run_command("verify", "--data-dir", str(filled), cwd=filled.parent)
    assert done.returncode == 1
    assert "written by a later version of this program, or damaged" in done.stdout
    assert journal_file(filled, journal).read_bytes() == before


def _flip_a_bit(root: Path, journal: str, *, line: int = 1) -> None:
    """Flip a bit in the middle of the line with this index."""
    file = journal_file(root, journal)
    lines = file.read_bytes().split(b"\n")
    octets = bytearray(lines[line])
    octets[len(octets) // 2] ^= 0x04
    lines[line] = bytes(octets)
    file.write_bytes(b"\n".join(lines))


def test_a_lost_sessions_database_costs_the_keys_and_nothing_else(filled: Path) -> None:
    """Sessions become placeholders, credits stay, open ones can be closed over HTTP and are credited."""
    credited = tables(filled)["ledger.db credits"]
    journals = [lines_of(filled, name) for name in ("envelopes", "refused", "trajectories")]
    lose(filled, "sessions.db")
    with ServerProcess(filled) as server:
        assert tables(filled)["ledger.db credits"] == credited
        assert [lines_of(filled, name) for name in ("envelopes", "refused", "trajectories")] == journals
        placeholders = rows(filled / "sessions.db", "SELECT session_id FROM sessions WHERE placeholder = 1")
        assert len(placeholders) == 8
        assert server.get("/v1/stats/summary").members["totalEnvelopes"] == 26
        lost = SigningClient("sess_open_0")
        lost.secret = b"no key of it is known any more"
        assert server.post(INGEST, lost.chunk()).members["code"] == "unknown_session"
        closed = server.post(CLOSE, b'{"session_id":"sess_open_0"}')
        assert closed.members == {"closed": True, "points": 40, "steps": 8}
        session_through(server, "sess_after")
        assert server.terminate() == 0
    check_stored(filled)


@pytest.mark.parametrize("names", [("ledger.db",), DATABASES])
def test_a_lost_ledger_is_derived_again(filled: Path, names: tuple[str, ...]) -> None:
    """Credits and balances come back from the trajectories, row for row."""
    before = tables(filled)
    lose(filled, *names)
    with ServerProcess(filled) as server:
        assert server.terminate() == 0
    after = tables(filled)
    same = [name for name in before if name.startswith("ledger.db") and name != "ledger.db schema_migrations"]
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    check_stored(filled)


def test_a_damaged_database_is_refused_in_a_sentence(filled: Path) -> None:
    """It says what to do about it."""
    (filled / "ledger.db").write_bytes(b"this was a database once" * 1_000)
    failed = refused(filled)
    assert failed.status == 5
    assert "rebuild" in failed.stderr


def test_rebuild_gives_the_same_rows(filled: Path) -> None:
    """Byte for byte, in every table, also with refused lines, gaps, late feedback and open sessions, and twice."""
    before = tables(filled)
    assert before["sessions.db sequence_gaps"]
    assert before["sessions.db refused_envelopes"]
    assert {row[-1] for row in before["sessions.db feedback"]} == {0, 1}
    assert {row[12] for row in before["sessions.db sessions"]} == {"active", "closed"}
    for _ in range(2):
        done = run_command("rebuild", "--data-dir", str(filled), cwd=filled.parent)
        assert done.returncode == 0, done.stderr
        assert tables(filled) == before
    with ServerProcess(filled) as server:
        session_through(server, "sess_after")
        assert server.terminate() == 0
    check_stored(filled)


def test_rebuild_takes_over_what_a_crash_left(tmp_path: Path) -> None:
    """After `kill -9`, openings stand in a write-ahead log alone, and lines in a journal alone: none is lost."""
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        client = session_through(server, "sess_closed")
        waiting = SigningClient("sess_open")
        waiting.opened(server.post(OPEN, dumps(waiting.opening()).encode()).members["server_public_key"])
        server.kill()
        assert run_command("rebuild", "--data-dir", str(root), cwd=tmp_path).returncode == 0
        server.start()
        assert server.post(INGEST, waiting.chunk()).members["accepted"] is True
        assert server.post(CLOSE, dumps({"session_id": client.session_id}).encode()).members["points"] == 15
        assert server.terminate() == 0
    check_stored(root)


def test_a_rebuild_that_was_interrupted_is_begun_again(filled: Path) -> None:
    """What one left behind disturbs neither a server nor the next rebuild."""
    before = tables(filled)
    (filled / "rebuild").mkdir()
    (filled / "rebuild" / "sessions.db").write_bytes(b"half a database")
    with ServerProcess(filled) as server:
        assert server.terminate() == 0
    assert run_command("rebuild", "--data-dir", str(filled), cwd=filled.parent).returncode == 0
    assert tables(filled) == before
    assert not (filled / "rebuild").exists()


def test_a_second_server_and_a_rebuild_are_refused_while_one_serves(tmp_path: Path) -> None:
    """One process a data directory; the sentence names the one that holds it, and it goes on undisturbed."""
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        failed = refused(root)
        assert failed.status == 2
        assert str(server.process.pid) in failed.stderr
        done = run_command("rebuild", "--data-dir", str(root), cwd=tmp_path)
        assert done.returncode == 2
        assert str(server.process.pid) in done.stderr
        session_through(server, "sess_1")


def test_a_wrong_master_key_is_refused(filled: Path) -> None:
    """Before anything is served, without showing a key; with the right one again all is well."""
    key = base64.b64encode(b"another key of thirty-two bytes!").decode()
    failed = refused(filled, CENTRAL_COMMAND_MASTER_KEY=key)
    assert failed.status == 2
    assert "master key" in failed.stderr
    assert key not in failed.stderr
    with ServerProcess(filled) as server:
        session_through(server, "sess_after")
