"""What docs/format.md says of torn ends, damage and versions is what the server does, and its reader can tell them."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.format.page_reader import (
    DATABASE_VERSIONS,
    Damage,
    TornEnd,
    UnknownFormat,
    check_backup,
    kind_of,
    read_journal,
    unsealed,
)
from tests.format.written_data import DATABASES, Written, framed, newest
from tests.server_process import ServerFailedError, ServerProcess, run_command


def append(copy: Path, torn: bytes) -> Path:
    """Put bytes behind the end of the envelopes journal."""
    path = newest(copy / "envelopes")
    path.write_bytes(path.read_bytes() + torn)
    return path


def good_text(n: int, batch: int) -> bytes:
    """A whole good line of the envelopes journal, as a batch that was interrupted may leave it."""
    return framed(good_members(n), n=n, batch=batch).text + b"\n"


def good_members(n: int) -> bytes:
    """The members of a line by which the server closes a session."""
    return b'"envelope_id":"env_%d","session_id":"sess_open","type":"SERVER_CLOSE","closed_by":"abandoned"' % n


LEFT = ["half a line", "zeros", "a bad line before good ones of its batch", "a line with another tail"]


@pytest.mark.parametrize("left", LEFT)
def test_a_torn_end_is_recognised_and_the_server_cuts_there_too(copy: Path, left: str) -> None:
    """To a file of the name that the page gives it, and the lines before it stay."""
    lines, _ = read_journal(copy / "envelopes")
    n = len(lines) + 1
    torn = {
        "half a line": good_text(n, n)[:-30],
        "zeros": bytes(4096),
        "a bad line before good ones of its batch": good_text(n, n).replace(b"env_", b"ENV_") + good_text(n + 1, n),
        "a line with another tail": good_text(n, n).replace(b"crc32", b"crc64"),
    }[left]
    path = append(copy, torn)
    size = path.stat().st_size - len(torn)
    found, end = read_journal(copy / "envelopes")
    assert found == lines
    assert end is not None
    assert (end.day, end.offset) == (path.stem, size)
    with ServerProcess(copy) as server:
        assert server.terminate() == 0
    assert path.stat().st_size == size
    assert (copy / "torn" / end.copy_name("envelopes")).read_bytes() == torn


def test_whole_good_lines_of_a_torn_batch_before_the_bad_place_stay(copy: Path) -> None:
    """A batch of two of which the second is half there: the journal ends after the first."""
    n = len(read_journal(copy / "envelopes")[0]) + 1
    append(copy, good_text(n, n) + good_text(n + 1, n)[:-10])
    lines, end = read_journal(copy / "envelopes")
    assert len(lines) == n
    assert isinstance(end, TornEnd)


@pytest.mark.parametrize("change", ["a changed byte", "a missing line", "a line twice"])
def test_damage_is_recognised_and_the_server_does_not_start_on_it(copy: Path, change: str) -> None:
    """In lines that the databases have not seen, so that the server looks at them."""
    shutil.rmtree(copy / "keys")
    for name in DATABASES:
        (copy / name).unlink()
    path = newest(copy / "envelopes")
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    changed = {
        "a changed byte": [first, second.replace(b"sess_open", b"sess_0pen"), *rest],
        "a missing line": [first, *rest],
        "a line twice": [first, second, first, *rest],
    }[change]
    path.write_bytes(b"".join(changed))
    with pytest.raises(Damage):
        read_journal(copy / "envelopes")
    with pytest.raises(ServerFailedError, match="damaged") as failed, ServerProcess(copy):
        pass
    assert failed.value.status == 3


@pytest.mark.parametrize(
    ("behind", "is_damage"),
    [
        ([("bad", 2, 2), ("good", 3, 2)], False),
        ([("bad", 2, 2), ("good", 3, 3)], True),
        ([("bad", 2, 2), ("bad", 3, 3)], False),
        ([("good", 3, 2)], False),
        ([("good", 3, 3)], True),
        ([("good", 1, 1)], True),
    ],
)
def test_what_stands_behind_the_bad_place_tells_a_torn_end_from_damage(
    tmp_path: Path, behind: list[tuple[str, int, int]], *, is_damage: bool
) -> None:
    """Behind line 1 of batch 1: lines with number and batch, good ones and bad ones."""
    texts = [good_text(n, batch).replace(b"env_", b"env_" if sort == "good" else b"ENV_") for sort, n, batch in behind]
    (tmp_path / "2001-09-09.jsonl").write_bytes(good_text(1, 1) + b"".join(texts))
    if is_damage:
        with pytest.raises(Damage, match="stands behind it"):
            read_journal(tmp_path)
    else:
        lines, end = read_journal(tmp_path)
        assert len(lines) == 1
        assert end is not None
        assert end.offset == len(good_text(1, 1))


def test_a_good_line_in_a_later_file_is_never_of_the_torn_batch(tmp_path: Path) -> None:
    """Also where it has the number that is missing."""
    (tmp_path / "2001-09-09.jsonl").write_bytes(good_text(1, 1) + good_text(2, 2)[:-9])
    (tmp_path / "2001-09-10.jsonl").write_bytes(good_text(2, 2))
    with pytest.raises(Damage, match="stands behind it"):
        read_journal(tmp_path)


def test_a_clock_that_goes_back_and_an_empty_day_are_no_damage(tmp_path: Path) -> None:
    """A line of an earlier day stands in a newer file; a file of 0 bytes stands between others."""
    for day, content in (("2001-09-09", good_text(1, 1)), ("2001-09-10", b""), ("2001-09-11", good_text(2, 2))):
        (tmp_path / f"{day}.jsonl").write_bytes(content)
    lines, end = read_journal(tmp_path)
    assert [line.day for line in lines] == ["2001-09-09", "2001-09-11"]
    assert end is None
    (tmp_path / "2001-09-09.jsonl").rename(tmp_path / "2001-09-08.jsonl")
    with pytest.raises(Damage):
        read_journal(tmp_path)


def test_members_and_files_that_are_not_listed_are_ignored(tmp_path: Path) -> None:
    """More in `received`, whatever it is, and what else lies in a journal's folder."""
    line = framed(b'"a":1', own_id=b'"\\u0078"', more=b',"later":{"a":1,"received":{"n":7}}')
    assert (line.n, line.own_id, line.head) == (1, b'"\\u0078"', b'{"a":1')
    (tmp_path / "2026-11-20.jsonl").write_bytes(line.text + b"\n")
    (tmp_path / "notes.txt").write_text("hello")
    assert len(read_journal(tmp_path)[0]) == 1


def test_what_looks_like_a_tail_within_an_envelope_is_none() -> None:
    """Neither in a nested object nor in a string."""
    inner = (
        b'"a":{"b":1,"received":{"n":9,"at":"2026-11-20T10:12:17.123456Z","batch":9}},"c":",\\"received\\":{\\"n\\":8"'
    )
    line = framed(inner, n=3)
    assert (line.n, line.head) == (3, b"{" + inner)


def test_versions_and_kinds_that_are_not_known_stop_the_reader(written: Written, tmp_path: Path) -> None:
    """It says what it found instead of taking it for something else."""
    with pytest.raises(UnknownFormat, match="NEWER"):
        kind_of({"type": "NEWER"})
    with pytest.raises(UnknownFormat, match="v2"):
        unsealed("v2.00000000.AAAA", bytes(32), "shared_secret", "s")
    backup = Path(shutil.copytree(written.backup, tmp_path / "backup"))
    manifest = (backup / "manifest.json").read_text()
    (backup / "manifest.json").write_text(manifest.replace('"version": 1', '"version": 2'))
    with pytest.raises(UnknownFormat, match="version 2"):
        check_backup(backup)
    (backup / "manifest.json").write_text(manifest.replace('"ledger.db": 6', '"ledger.db": 9'))
    with pytest.raises(UnknownFormat, match="versions"):
        check_backup(backup)


@pytest.mark.parametrize("later", ["a kind of line", "what ended a session", "a sealed text"])
def test_a_server_does_not_start_on_what_is_later(copy: Path, later: str) -> None:
    """In a line that the databases do not hold yet, and in the check of the key."""
    n = len(read_journal(copy / "envelopes")[0]) + 1
    members = {
        "a kind of line": b'"envelope_id":"env_1","session_id":"sess_open","type":"NEWER"',
        "what ended a session": good_members(n).replace(b"abandoned", b"newer"),
    }
    if later in members:
        append(copy, framed(members[later], n=n).text + b"\n")
    else:
        with closing(sqlite3.connect(copy / "sessions.db")) as connection, connection:
            connection.execute("UPDATE key_check SET sealed = 'v2' || substr(sealed, 3)")
    with pytest.raises(ServerFailedError, match=r"by a later version of this program, or damaged") as failed:
        ServerProcess(copy).start()
    assert failed.value.status == 3
    assert failed.value.stderr.count("\n") == 1


@pytest.mark.parametrize("database", DATABASES)
def test_a_server_does_not_start_on_a_later_database(copy: Path, database: str) -> None:
    """Before it touches a journal: what it would take for a torn end there stays as it is. Nor does `verify`."""
    later = DATABASE_VERSIONS[database] + 1
    with closing(sqlite3.connect(copy / database)) as connection, connection:
        connection.execute("INSERT INTO schema_migrations VALUES (?, '2026-11-20T10:12:17.123456Z')", (later,))
    path = append(copy, b'{"a line of a later format":true}\n')
    content = path.read_bytes()
    with pytest.raises(ServerFailedError, match=f"{database} has schema version {later}") as failed:
        ServerProcess(copy).start()
    assert failed.value.status == 2
    assert path.read_bytes() == content
    done = run_command("verify", "--data-dir", str(copy), cwd=copy.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{database} has schema version {later}" in done.stderr
