"""`jobs`: listed, retried, paused, resumed and run beside a server or without one; one sentence for what cannot be."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from central_command.commands.cli import main
from persistence.databases.jobs_changing import Added, JobChanges, NewJob
from persistence.databases.jobs_database import JobsDatabase, JobStatus
from persistence.databases.jobs_running import JobEnd, JobRuns, LiveRun, Look
from persistence.databases.jobs_schedule import JobSchedule, Repeatable

NOW = 1_795_169_541.0


def run(root: Path, *arguments: str) -> Result:
    """Run a command on a data directory."""
    command, rest = arguments[:1], arguments[1:]
    is_option = command[:1] and command[0].startswith("-")
    given = (
        ["jobs", "--data-dir", str(root), *arguments]
        if is_option or not command
        else ["jobs", *command, *rest, "--data-dir", str(root)]
    )
    return CliRunner().invoke(main, given)


@pytest.fixture
def database(tmp_path: Path) -> JobsDatabase:
    """A server's jobs: it repeats one, and another has failed."""
    database = JobsDatabase(tmp_path / "jobs.db", lambda: NOW)
    repeated = Repeatable(queue="gc", key="gc", name="gc", payload="{}", cron="0 4 * * *", attempts_max=5)
    JobSchedule(database).declare(["gc", "verify"], [repeated], now=NOW)
    added = JobChanges(database).add(
        NewJob(queue="verify", name="verify", payload="{}", attempts_max=5), now=NOW, waiting_max=9
    )
    assert isinstance(added, Added)
    one = {"verify": 1}
    look = Look(now=NOW, lease_s=60.0, live=[], free=one, concurrency=one, log_lines_max=9)
    JobRuns(database).look(look, lambda: "run")
    failed = JobEnd(run=LiveRun(run_id="run"), status=JobStatus.FAILED, error="it \x1b[31mdiffers")
    assert JobRuns(database).end(failed, now=NOW, log_lines_max=9) is not None
    return database


def test_jobs_are_listed_and_nothing_they_say_steers_the_terminal(tmp_path: Path, database: JobsDatabase) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    job, name, status, attempts, *_, error = result.output.splitlines()[1].split("\t")
    assert (job, name, status, attempts) == ("verify__1", "verify", "failed", "1")
    assert "\x1b" not in error
    assert "verify__1" in run(tmp_path, "--status", "failed", "--queue", "verify").output
    assert run(tmp_path, "--status", "active").output == "There is no such job.\n"


def test_paused_queues_are_named_with_the_jobs(tmp_path: Path, database: JobsDatabase) -> None:
    assert "paused" not in run(tmp_path).output
    assert run(tmp_path, "pause", "gc").exit_code == 0
    for asked, told in ((), True), (("--queue", "gc"), True), (("--queue", "verify"), False):
        assert ("gc is paused since 20" in run(tmp_path, *asked).stderr) == told
    run(tmp_path, "resume", "gc")
    assert "paused" not in run(tmp_path).output


def test_a_failed_job_waits_again_once(tmp_path: Path, database: JobsDatabase) -> None:
    assert run(tmp_path, "retry", "verify__1").output == "verify__1 waits again\n"
    again = run(tmp_path, "retry", "verify__1")
    assert (again.exit_code, "the job is waiting, so it cannot be retried" in again.output) == (1, True)
    for unknown in ("verify__2", "gc__1", "verify", "__1"):
        missing = run(tmp_path, "retry", unknown)
        assert (missing.exit_code, "there is no such job" in missing.output) == (1, True)


def test_a_queue_is_paused_and_resumed(tmp_path: Path, database: JobsDatabase) -> None:
    assert run(tmp_path, "pause", "gc").output == "gc is paused\n"
    with database.snapshot() as connection:
        assert connection.execute("SELECT queue FROM job_queues WHERE paused_at IS NOT NULL").fetchall() == [("gc",)]
    assert run(tmp_path, "resume", "gc").output == "gc goes on\n"
    for command in ("pause", "resume"):
        result = run(tmp_path, command, "no")
        assert (result.exit_code, "there is no such queue; there are gc, verify" in result.output) == (1, True)


def test_what_is_repeated_is_run_now(tmp_path: Path, database: JobsDatabase) -> None:
    assert run(tmp_path, "run", "gc").output == "gc__2 waits\n"
    again = run(tmp_path, "run", "gc")
    assert (again.exit_code, "gc is unfinished already" in again.output) == (1, True)
    other = run(tmp_path, "run", "no")
    assert (other.exit_code, "no job of that name is repeated; there are gc" in other.output) == (1, True)


@pytest.mark.parametrize("arguments", [(), ("retry", "gc__1"), ("pause", "gc"), ("resume", "gc"), ("run", "gc")])
def test_without_a_server_before_it_nothing_is_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run(tmp_path, *arguments)
    assert (result.exit_code, "no server of this version has run there" in result.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_payload_is_json_as_it_was_given(database: JobsDatabase) -> None:
    with database.snapshot() as connection:
        assert [msgspec.json.decode(payload) for (payload,) in connection.execute("SELECT payload FROM jobs")] == [{}]
