"""jobs.db: private, shared by processes, as fast with many finished jobs as with few, forgetting what it is told to."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from persistence.databases.database import DatabaseBusy, DatabaseFailure
from persistence.databases.jobs_changing import Added, JobChanges, NewJob
from persistence.databases.jobs_database import JobsDatabase, JobStatus
from persistence.databases.jobs_listing import JobLists
from persistence.databases.jobs_running import JobRuns, Look
from persistence.databases.jobs_schedule import JobSchedule
from persistence.format.layout import DataLayout
from persistence.upkeep.findings import Findings
from persistence.upkeep.jobs_check import check_jobs

NOW = 1_795_169_541.0


def opened(root: Path) -> JobsDatabase:
    """The database of a data directory."""
    return JobsDatabase(DataLayout(root).jobs_database, lambda: NOW)


def add(database: JobsDatabase, payload: str = "{}", queue: str = "work") -> int:
    """Add a job; return its number."""
    new = NewJob(queue=queue, name="do", payload=payload, attempts_max=5)
    added = JobChanges(database).add(new, now=NOW, waiting_max=1_000)
    assert isinstance(added, Added)
    return added.job.job_id


def findings(root: Path) -> list[str]:
    """What a check of it finds."""
    found = Findings()
    check_jobs(DataLayout(root), found)
    return found.lines


def test_it_is_private_and_has_no_write_ahead_log(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as database:
        add(database)
        path = tmp_path / "jobs.db"
        assert path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in tmp_path.iterdir()] == ["jobs.db"]


def test_what_one_process_commits_the_other_sees_and_waits_for_its_turn(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as server, closing(opened(tmp_path)) as command:
        JobSchedule(server).declare(["work"], [], now=NOW)
        add(server)
        assert JobChanges(command).pause("work", now=NOW)
        look = Look(now=NOW, lease_s=60.0, live=[], free={"work": 1}, concurrency={"work": 1}, log_lines_max=9)
        assert JobRuns(server).look(look, lambda: "run").claimed == []
        assert JobChanges(command).resume("work")
        assert len(JobRuns(server).look(look, lambda: "run").claimed) == 1
        with server.transaction():
            connection = command._connection
            assert connection is not None
            connection.execute("PRAGMA busy_timeout = 1")
            with pytest.raises(DatabaseBusy):
                add(command)
        assert add(command) == 2


def test_what_is_no_database_is_said_and_opened_again_once_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"x" * 8_192)
    with closing(opened(tmp_path)) as database:
        with pytest.raises(DatabaseFailure, match=r"jobs\.db is not a database"):
            add(database)
        (tmp_path / "jobs.db").unlink()
        assert add(database) == 1


def test_what_is_forgotten_is_in_no_byte_of_the_file(tmp_path: Path) -> None:
    secret = "0123456789abcdef of somebody"
    with closing(opened(tmp_path)) as database:
        theirs = add(database, f'{{"of":"{secret}"}}')
        failed, other = add(database), add(database)
        with database.transaction() as connection:
            connection.execute("UPDATE jobs SET error = ? WHERE job_id = ?", (f"lost {secret}", failed))
            connection.execute("INSERT INTO job_log (job_id, at, line) VALUES (?, '', ?)", (other, f"did {secret}"))
        kept = add(database)
        assert secret.encode() in (tmp_path / "jobs.db").read_bytes()
        assert JobChanges(database).forget([]) == 0
        assert JobChanges(database).forget([secret, "fedcba9876543210"]) == 3
        assert [job.job_id for job in JobLists(database).page(limit=10).jobs] == [kept]
        assert {theirs, failed, other}.isdisjoint({kept})
        assert secret.encode() not in (tmp_path / "jobs.db").read_bytes()
        assert JobLists(database).queues()[0].waiting == 1


def test_a_check_finds_wrong_counts_other_tables_and_damage(tmp_path: Path) -> None:
    assert findings(tmp_path) == []
    with closing(opened(tmp_path)) as database:
        add(database)
    assert findings(tmp_path) == []
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        connection.execute("UPDATE job_counts SET jobs = 7")
    assert findings(tmp_path) == ["jobs.db: the queue 'work' has not as many jobs that are waiting as it counts"]
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        connection.execute("DROP TRIGGER jobs_moved")
    assert "jobs.db is damaged, or of other tables: restore it" in findings(tmp_path)[0]
    (tmp_path / "jobs.db").write_bytes(b"x" * 4_096)
    assert "jobs.db cannot be read" in findings(tmp_path)[0]


def fill(database: JobsDatabase, finished: int) -> None:
    """Many completed jobs, written at once."""
    insert = """
    INSERT INTO jobs
        (queue, name, status, payload, priority, attempts, attempts_max, created_at, changed_at, finished_at)
    VALUES ('work', 'do', 'completed', '{}', 0, 1, 5, '', '', '2026-11-20T00:00:00.000000Z')
    """
    with database.transaction() as connection:
        connection.executemany(insert, [()] * finished)


def test_what_is_asked_all_the_time_reads_no_finished_job(tmp_path: Path) -> None:
    """However many there are: with a hundred times as many, SQLite takes no more steps (a step is an instruction)."""
    steps = {}
    for finished in (100, 10_000):
        with closing(JobsDatabase(None, lambda: NOW)) as database:
            fill(database, finished)
            add(database)
            with database.transaction() as connection:
                counted = [0]
                connection.set_progress_handler(lambda counted=counted: counted.__setitem__(0, counted[0] + 1), 1)
            look = Look(now=NOW, lease_s=60.0, live=[], free={"work": 1}, concurrency={"work": 2}, log_lines_max=9)
            JobLists(database).queues()
            JobLists(database).page(status=JobStatus.COMPLETED, limit=20)
            JobLists(database).page(status=JobStatus.FAILED, queue="work", limit=20)
            JobRuns(database).look(look, lambda: "run")
            JobLists(database).page(limit=20)
            steps[finished] = counted[0]
    assert steps[10_000] < 1.2 * steps[100], steps


def test_pages_and_pruning_are_bounded(tmp_path: Path) -> None:
    with closing(JobsDatabase(None, lambda: NOW)) as database:
        fill(database, 1_000)
        changes, lists = JobChanges(database), JobLists(database)
        page = lists.page(limit=100)
        assert (len(page.jobs), page.total, page.next_before) == (100, 1_000, 901)
        assert lists.page(before=page.next_before, limit=100).jobs[0].job_id == 900
        began = time.monotonic()
        assert changes.prune(before=NOW, completed_max=10_000, at_once_max=300) == 300
        assert changes.prune(before=0.0, completed_max=500, at_once_max=300) == 200
        assert lists.queues()[0].completed == 500
        assert time.monotonic() - began < 60
