"""The server's own jobs do what they are for, and come to the same when they are done twice."""

import errno
import os
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
import trio

from actors.jobs.engine import Jobs
from actors.jobs.queue import NotDone, NotRetried, Run
from central_command.background import own_jobs, worker
from central_command.background.own_jobs import Nothing, OwnJobs
from central_command.background.worker import Answer, Order, answer_to
from central_command.http.endpoints.exports import ExportReport, ExportState
from persistence.databases.access_tokens import TokenFile
from persistence.databases.jobs_database import JobsDatabase
from persistence.databases.jobs_listing import JobLists
from persistence.files.file_system import OsFileSystem, inline
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.settings.storage import StorageSettings
from persistence.upkeep.successes import last_successes
from tests.running_service import running, settings_with
from tests.submitted_texts import leave_token

NOW = 1_795_169_541.0
DAY_S = 86_400.0


class Exports:
    """Exports of these ages, in days."""

    def __init__(self, **ages: int) -> None:
        self.kept = {
            name: ExportReport(
                id=name,
                state=ExportState.RUNNING if name == "running" else ExportState.DONE,
                asked_at=times.to_text(NOW - age * DAY_S),
                folder=name,
                formats=("jsonl",),
            )
            for name, age in ages.items()
        }

    def reports(self) -> list[ExportReport]:
        return [*self.kept.values()]

    async def delete(self, export_id: str) -> ExportReport | None:
        return self.kept.pop(export_id)


async def expired() -> Counter[str]:
    return Counter(refused=3)


async def digested() -> dict[str, object]:
    return {"days": 2, "sha256": "0" * 64}


async def made_cold(say: Callable[[str], None]) -> dict[str, int]:
    say("one day is cold")
    return {"days": 1, "freed_bytes": 7}


def own(root: Path, exports: Exports | None = None, *, cold_after_days: int = 0, **settings: object) -> OwnJobs:
    """The jobs of a server on a data directory."""
    chosen = settings_with(jobs=settings, tiers={"compress_after_days": cold_after_days})
    database = JobsDatabase(root / "jobs.db", lambda: NOW)
    jobs = Jobs(database, chosen.jobs, clock=lambda: NOW, random_bytes=os.urandom, offload=inline)
    return OwnJobs(
        chosen,
        root,
        jobs,
        expire=expired,
        make_cold=made_cold,
        digest=digested,
        without_curation=nullcontext,
        exports=exports or Exports(),
        clock=lambda: NOW,
        offload=inline,
    )


def run(number: int = 7) -> "Run[Nothing]":
    return Run(
        job_id=f"backup__{number}",
        name="backup",
        payload=Nothing(),
        attempt=1,
        created_at="2026-11-20T02:00:00.000000Z",
        note=lambda line: None,
    )


async def test_each_has_its_queue_and_its_schedule_and_a_backup_only_with_a_folder(tmp_path: Path) -> None:
    always = ["gc", "ledger-digest", "retention", "summarization", "verify"]
    for folder, names in ((None, always), ("/b", ["backup", *always])):
        jobs = own(tmp_path, backup_dir=folder)
        jobs.register()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jobs._jobs.run)
            while [queue.name for queue in jobs._jobs.statistics().queues] != names:  # noqa: ASYNC110 (nobody tells)
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert [queue.name for queue in JobLists(JobsDatabase(tmp_path / "jobs.db", lambda: NOW)).queues()] == names


async def test_what_nobody_needs_any_more_goes_and_nothing_else(tmp_path: Path) -> None:
    for age, name in ((40.0, "dead"), (10.0, "late"), (-10.0, "valid")):
        leave_token(tmp_path, "read", name=name, now=NOW - 100 * DAY_S, lasting_s=(100 - age) * DAY_S)
    drafts = ["closing.json.partial", "keys/.master.key.0123abcd", "models/.unfinished-x", "exports/exp_1.json.partial"]
    kept = ["keys/master.key", "notes.partially", "exports/exp_2.json", "exports/exp_2/rows", "sessions.db"]
    lost = ["exports/exp_3/rows"]
    for name in (*drafts, *kept, *lost):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    for name in ("exports/exp_3", *drafts, *kept):
        os.utime(tmp_path / name, (NOW - 2 * DAY_S, NOW - 2 * DAY_S))
    (tmp_path / "new.partial").write_text("x")
    os.utime(tmp_path / "new.partial", (NOW - 60, NOW - 60))
    exports = Exports(old=91, running=91, young=89)
    found = await own(tmp_path, exports).collect(run())
    assert found == {"jobs": 0, "tokens": 1, "exports": 1, "drafts": 5}
    assert not any((tmp_path / name).exists() for name in (*drafts, *lost))
    assert all((tmp_path / name).exists() for name in (*kept, "new.partial"))
    assert sorted(exports.kept) == ["running", "young"]
    assert {token.name for token in TokenFile(tmp_path / "access.db", lambda: NOW).all()} == {"late", "valid"}
    again = await own(tmp_path, exports).collect(run())
    assert again == {"jobs": 0, "tokens": 0, "exports": 0, "drafts": 0}


async def test_what_is_past_its_time_is_counted(tmp_path: Path) -> None:
    assert await own(tmp_path).expire(run()) == {"refused": 3}


async def test_the_digest_of_the_ledger_is_added_to(tmp_path: Path) -> None:
    assert await own(tmp_path).digest(run()) == {"days": 2, "sha256": "0" * 64}


async def test_days_are_made_cold_only_where_that_is_asked_for(tmp_path: Path) -> None:
    for days, names in ((0, set[str]()), (30, {"tier-management"})):
        jobs = own(tmp_path, cold_after_days=days)
        jobs.register()
        assert {*jobs._jobs._queues} & {"tier-management"} == names
    assert await jobs.manage_tiers(run()) == {"days": 1, "freed_bytes": 7}


async def test_a_difference_fails_the_check_for_good_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def done(order: Order) -> Answer:
        return Answer(findings=["this differs", "that, too"])

    monkeypatch.setattr(own_jobs, "done", done)
    with pytest.raises(NotRetried, match=r"The stored data differs in 2 place\(s\): this differs"):
        await own(tmp_path).verify(run())


async def test_everything_is_checked_and_backed_up_once_and_old_backups_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    async with running(data):
        pass

    async def done(order: Order) -> Answer:
        answer = await trio.to_thread.run_sync(answer_to, order)
        if answer.refused is not None:
            raise NotDone(answer.refused)
        return answer

    monkeypatch.setattr(own_jobs, "done", done)
    jobs = own(data, backup_dir=str(backups), backups_kept=2)
    assert await jobs.verify(run()) == {"findings": 0}
    with pytest.raises(NotDone, match=r"the folder .*/backups does not exist: make it first"):
        await jobs.back_up(run(1))
    (backups / "central-command-of-somebody").mkdir(parents=True)
    for number in (1, 2, 3):
        made = await jobs.back_up(run(number))
        assert made["folder"] == f"central-command-2026-11-20-{number}"
        assert made["size_bytes"]
        os.utime(backups / str(made["folder"]) / "manifest.json", (NOW + number, NOW + number))
    again = await jobs.back_up(run(3))
    noted = last_successes(DataLayout(data), OsFileSystem())
    assert noted.keys() == {"backup", "verify"}, "what went well is known, whoever did it"
    assert (again["size_bytes"], again["removed"]) == (None, []), "a try whose end was lost makes no second one"
    assert sorted(path.name for path in backups.iterdir()) == [
        "central-command-2026-11-20-2",
        "central-command-2026-11-20-3",
        "central-command-of-somebody",
    ]


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    """It may be a disk that is not mounted: the one below it would be filled instead."""
    folder, data = tmp_path / "mnt" / "backups", tmp_path / "data"
    data.mkdir()
    for name in ("sessions.db", "ledger.db"):
        (data / name).touch()
    order = Order(data_directory=str(data), storage=settings_with().storage, target=str(folder / "today"))
    assert answer_to(order).refused == f"the folder {folder} does not exist: make it first (mkdir -p)"
    assert not folder.parent.exists()


def test_what_cannot_be_done_is_said_in_one_sentence(tmp_path: Path) -> None:
    target = tmp_path / "data" / "inside"
    (tmp_path / "data").mkdir()
    settings = settings_with().storage
    answer = answer_to(Order(data_directory=str(tmp_path / "data"), storage=settings, target=str(target)))
    assert answer.refused
    assert "\n" not in answer.refused


async def test_the_process_does_what_it_is_told_and_answers(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    order = Order(data_directory=str(tmp_path), storage=settings_with().storage)
    assert (await own_jobs.done(order)).findings == []
    assert msgspec.json.decode(msgspec.json.encode(order), type=worker.Order) == order


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_a_job_s_process_may_not_read_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, wrapped: bool
) -> None:
    """Also where it was raised within a nursery: as with a file that root has left there."""

    async def unable(*_: object, **__: object) -> list[str]:
        async with trio.open_nursery() if wrapped else nullcontext():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "audit.lock")

    monkeypatch.setattr(worker.verification, "verify", unable)
    answer = answer_to(Order(data_directory=str(tmp_path), storage=StorageSettings()))
    assert answer.refused == "audit.lock: Permission denied"


def test_a_bug_within_a_job_s_process_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def failing(*_: object, **__: object) -> list[str]:
        raise ExceptionGroup("of a nursery", [OSError("the disk"), LookupError("a bug")])

    monkeypatch.setattr(worker.verification, "verify", failing)
    with pytest.raises(ExceptionGroup, match="of a nursery"):
        answer_to(Order(data_directory=str(tmp_path), storage=StorageSettings()))
