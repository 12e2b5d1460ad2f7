import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from central_command.training import get_or_create_user_id, is_capture_enabled
from central_command.training.consent import ConsentManager
from central_command.training.notice import NOTICE
from central_command.training.records import TrainingDataError
from persistence.format.consent_events import ConsentSource, ConsentState, event_sha256
from tests.server_process import REPOSITORY

EVENTS = 1_000
THREADS = 8
OTHER_PROCESS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from central_command.training.consent import ConsentManager
consent = ConsentManager(sys.argv[1], busy_timeout_s=300)
with ThreadPoolExecutor({threads}) as pool:
    for each in [pool.submit(consent.record_consent, f"other_{{n % 7}}", n % 3 > 0, "1.0") for n in range({events})]:
        each.result()
"""


def tampered(path: Path, statement: str) -> None:
    """Change the file behind the program's back."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER consent_events_are_not_changed")
        connection.execute("DROP TRIGGER consent_events_are_not_deleted")
        assert connection.execute(statement).rowcount == 1
    connection.close()


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder whose syncs cost nothing, where there is one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


def test_events_of_threads_and_processes_form_one_chain_in_which_a_changed_row_is_found(memory_folder: Path) -> None:
    path = memory_folder / "consent.db"
    consent = ConsentManager(path, busy_timeout_s=300)
    code = OTHER_PROCESS.format(threads=THREADS, events=EVENTS // 2)
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=REPOSITORY)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            asked = [
                pool.submit(consent.record_consent, f"user_{n % 7}", n % 3 > 0, "1.0", {"n": n})
                for n in range(EVENTS // 2)
            ]
        assert [each.result() for each in asked] == [None] * (EVENTS // 2)
        assert other.wait(300) == 0
    finally:
        other.kill()
        other.wait()
    assert (consent.check().events, consent.check().wrong) == (EVENTS, None)
    tampered(
        path,
        "UPDATE consent_events SET state = 'given' WHERE n = (SELECT n FROM consent_events"
        " WHERE state = 'withdrawn' ORDER BY n LIMIT 1 OFFSET 100)",
    )
    assert "was changed" in str(consent.check().wrong)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consent_events SET state = 'given' WHERE n = 3",
        "UPDATE consent_events SET metadata = '{}' WHERE n = 1",
        "UPDATE consent_events SET at_us = at_us + 1 WHERE n = 2",
        "DELETE FROM consent_events WHERE n = 3",
        "DELETE FROM consent_events WHERE n = 1",
    ],
)
def test_what_is_changed_or_taken_out_of_the_file_is_found(tmp_path: Path, statement: str) -> None:
    consent = ConsentManager(tmp_path / "consent.db")
    for opted_in in (True, True, False):
        consent.record_consent("u", opted_in, "1.0", {"by": "settings"})
    assert consent.check().wrong is None
    tampered(tmp_path / "consent.db", statement)
    assert consent.check().wrong is not None


def test_the_file_itself_refuses_changes_of_events(tmp_path: Path) -> None:
    consent = ConsentManager(tmp_path / "consent.db")
    consent.record_consent("u", opted_in=True, consent_version="1.0")
    connection = sqlite3.connect(tmp_path / "consent.db")
    for statement in ("UPDATE consent_events SET subject = 'v'", "DELETE FROM consent_events"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            connection.execute(statement)
    connection.close()


def test_an_event_says_which_notice_was_shown_and_where_it_came_from(tmp_path: Path) -> None:
    consent = ConsentManager(tmp_path / "consent.db")
    consent.record_consent("u", opted_in=True, consent_version="1.0")
    consent.revoke_consent("u")
    given, withdrawn = consent.events("u")
    assert (given.notice_version, given.notice_sha256) == (NOTICE.version, NOTICE.sha256)
    assert given.purposes == NOTICE.purposes
    assert given.source is ConsentSource.CLIENT
    assert withdrawn.version == "1.0"
    assert withdrawn.previous_sha256 == event_sha256(given)
    assert consent.get_consent_history("u")[0].event_id == given.id


def test_opting_out_twice_is_one_event(tmp_path: Path) -> None:
    consent = ConsentManager(tmp_path / "consent.db")
    consent.record_consent("u", opted_in=True, consent_version="1.0")
    assert [consent.revoke_consent("u"), consent.revoke_consent("u")] == [True, True]
    assert len(consent.events("u")) == 2
    assert consent.state("u") is ConsentState.WITHDRAWN


def test_nobody_withdraws_while_consent_is_held(tmp_path: Path) -> None:
    path = tmp_path / "consent.db"
    consent = ConsentManager(path)
    consent.record_consent("u", opted_in=True, consent_version="1.0")
    with consent.held(["u", "v"]) as versions:
        assert versions == {"u": "1.0"}
        with pytest.raises(TrainingDataError, match="locked"):
            ConsentManager(path, busy_timeout_s=0).revoke_consent("u")
        assert consent.is_opted_in("u")
    assert consent.revoke_consent("u") is True


def test_a_file_with_a_write_ahead_log_gets_its_rollback_journal_back(tmp_path: Path) -> None:
    """With the log, whoever withdraws would not wait for whoever writes."""
    path = tmp_path / "consent.db"
    consent = ConsentManager(path, busy_timeout_s=0)
    consent.record_consent("u", opted_in=True, consent_version="1.0")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    with consent.held(["u"]) as versions:
        assert versions == {"u": "1.0"}
        with pytest.raises(TrainingDataError):
            consent.revoke_consent("u")
    connection.close()
    assert consent.revoke_consent("u") is True
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


def test_a_database_that_stays_locked_is_one_sentence_after_the_time_out(tmp_path: Path) -> None:
    path = tmp_path / "consent.db"
    ConsentManager(path).record_consent("u", opted_in=True, consent_version="1.0")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    for call in (ConsentManager(path, busy_timeout_s=0).is_opted_in, ConsentManager(path, busy_timeout_s=0).events):
        with pytest.raises(TrainingDataError, match=r"consent\.db cannot be used: database is locked"):
            call("u")
    connection.close()


@pytest.mark.parametrize("content", [b"no database at all, but long enough to have a header" * 40, b"\0" * 4_096])
def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "consent.db").write_bytes(content)
    with pytest.raises(TrainingDataError, match="cannot be used"):
        ConsentManager(tmp_path / "consent.db").is_opted_in("u")


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "consent.db")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    consent = ConsentManager(tmp_path / "consent.db")
    with pytest.raises(TrainingDataError, match="later version"):
        consent.is_opted_in("u")
    with pytest.raises(TrainingDataError, match="later version"):
        consent.record_consent("u", opted_in=True, consent_version="1.0")


@pytest.mark.parametrize(
    ("user_id", "version", "metadata"),
    [
        ("", "1.0", None),
        ("u" * 257, "1.0", None),
        ("\ud83d", "1.0", None),
        ("u", "", None),
        ("u", "1.0", {"o": object()}),
        ("u", "1.0", {"o": "x" * 100_000}),
    ],
)
def test_what_no_event_can_hold_is_refused_and_leaves_nothing(
    tmp_path: Path, user_id: str, version: str, metadata: dict[str, object] | None
) -> None:
    consent = ConsentManager(tmp_path / "consent.db")
    with pytest.raises(ValueError, match=r"\w"):
        consent.record_consent(user_id, opted_in=True, consent_version=version, metadata=metadata)
    assert consent.check().events == 0


@pytest.mark.parametrize("opted_in", ["no", "yes", 0, 1, None])
def test_what_is_neither_true_nor_false_is_nobodys_consent(tmp_path: Path, opted_in: object) -> None:
    """A text that says no would count as one that says yes."""
    consent = ConsentManager(tmp_path / "consent.db")
    with pytest.raises(ValueError, match=r"^opted_in must be True or False, not "):
        consent.record_consent("u", opted_in=opted_in, consent_version="1.0")  # type: ignore[arg-type] # as a program may
    with pytest.raises(ValueError, match=r"^consent_version must be a text, not int$"):
        consent.record_consent("u", opted_in=True, consent_version=1)  # type: ignore[arg-type] # as a program may
    assert (consent.is_opted_in("u"), consent.check().events) == (False, 0)


def test_a_request_for_deletion_waits_until_it_is_done(tmp_path: Path) -> None:
    consent = ConsentManager(tmp_path / "consent.db")
    assert consent.pending_deletions() == []
    for _ in range(2):
        assert consent.request_deletion("u") == {"user_id": "u", "consent_records": 0, "status": "pending"}
    consent.request_deletion("v")
    assert consent.pending_deletions() == ["u", "v"]
    consent.deletion_done("u")
    consent.deletion_done("nobody")
    assert consent.pending_deletions() == ["v"]


def test_asking_makes_no_file(tmp_path: Path) -> None:
    consent = ConsentManager(tmp_path / "there" / "consent.db")
    assert not consent.is_opted_in("u")
    assert consent.get_opted_in_count() == 0
    assert consent.check().wrong is None
    assert consent.revoke_consent("u") is False
    assert not (tmp_path / "there").exists()


def test_threads_that_ask_first_at_once_get_the_same_id(home: Path) -> None:
    barrier = threading.Barrier(THREADS)

    def ask() -> str:
        barrier.wait()
        return get_or_create_user_id()

    with ThreadPoolExecutor(THREADS) as pool:
        ids = {each.result() for each in [pool.submit(ask) for _ in range(THREADS)]}
    assert len(ids) == 1
    assert [path.name for path in (home / ".groove").iterdir()] == ["user_id"]


def test_a_note_of_who_withdrew_is_of_those_who_have(home: Path) -> None:
    """Whichever user of the file it was; a note that cannot be written keeps nobody from withdrawing."""
    consent, note = ConsentManager(), home / ".groove" / "consent.db.withdrawn"
    for user_id in ("u", "v"):
        consent.record_consent(user_id, opted_in=True, consent_version="1.0")
        consent.revoke_consent(user_id)
        assert note.read_text() == user_id
    consent.record_consent("u", opted_in=True, consent_version="1.0")
    assert note.read_text() == "v"
    consent.record_consent("v", opted_in=True, consent_version="1.0")
    assert not note.exists()
    note.mkdir()
    assert consent.revoke_consent("v") is True
    assert consent.state("v") is ConsentState.WITHDRAWN
    assert {path.name for path in (home / ".groove").iterdir()} == {"consent.db", "consent.db.withdrawn"}


def test_capture_is_off_where_it_cannot_be_said_who_opted_in(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    get_or_create_user_id()
    (home / ".groove" / "consent.db").write_bytes(b"no database" * 1_000)
    assert is_capture_enabled() is False
    assert "nothing is captured, because it cannot be said who has opted in" in caplog.text
