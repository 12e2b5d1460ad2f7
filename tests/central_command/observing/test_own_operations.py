"""What this server does itself is observed: requests that the framework answers, exports, starts and settings."""

from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from actors.envelopes.settings import SchemaSettings
from actors.jobs.events import JobEvent
from actors.observer.failures import change_of
from actors.observer.operation import Bounds, OperationReader
from central_command.http.app import create_app
from central_command.http.endpoints.exports import ExportReport, ExportState
from central_command.http.requests.request_figures import RequestFigures
from central_command.http.settings import HttpSettings
from central_command.observing.deliveries import ObservedDeliveries
from central_command.observing.jobs import IN_FULL, ObservedJobs
from central_command.observing.own import export_ended, job_ended, settings_reread, started
from central_command.observing.requests import observe_requests
from tests.running_service import running

READER = OperationReader(Bounds(2_000, 8_192))
AT = "2026-11-30T12:00:00.000000Z"


async def test_failed_requests_are_all_told_and_of_the_others_one_in_so_many(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    async with running(tmp_path) as run:
        app = create_app(run.service, HttpSettings(), schema=SchemaSettings(), clock=run.clock)
        observe_requests(app, told.append, sample_every=3)
        client: Any = app.test_client()
        for _ in range(7):
            assert (await client.get("/v1/stats/summary")).status_code in {200, 404}
            await client.get("/health")
            await client.get("/no/such/path")
            await client.options("/v1/sessions/open")
        await client.post("/v1/sessions/open", data=b"{")
        await client.post("/v1/training/ingest", data=b"{")
        await client.get("/v1/stats/daily?days=x")
    failed = [(each["endpoint"], each["error"]) for each in told if not each["success"]]
    assert failed == [
        ("POST /v1/sessions/open", "HTTP 400 The body is not valid JSON."),
        ("GET /v1/stats/daily", "HTTP 400 days must be a whole number from 1 to 365."),
    ]
    assert len(told) - len(failed) in {0, 2}
    assert all(READER.completed(each, AT).source == "central_command" for each in told)


def test_starts_and_settings_are_changes_after_which_others_may_fail() -> None:
    for members, what in (
        (started("1.2"), "started, version 1.2"),
        (settings_reread(("log.level",)), "settings read again; changed: log.level"),
    ):
        change = change_of(AT, READER.completed(members, AT))
        assert change is not None
        assert change.what == what


def test_exports_and_jobs_are_operations() -> None:
    report = ExportReport(
        id="exp_1", state=ExportState.FAILED, asked_at=AT, folder="f", formats=("jsonl",), reason="no room."
    )
    failed = READER.completed(export_ended(report, 2.0), AT)
    assert (failed.endpoint, failed.success, failed.error, failed.duration_ms) == ("export", False, "no room.", 2_000)
    job = READER.completed(job_ended("gc", "sweep", duration_s=0.5, attempt=2), AT)
    assert (job.endpoint, job.success, job.output_summary) == ("job:gc", True, "completed, attempt 2")


def event(what: str, *, queue: str = "gc", error: str | None = None) -> JobEvent:
    return JobEvent(job_id=f"{queue}__1", name=queue, queue=queue, event=what, attempts=2, error=error, duration_s=0.25)


async def test_runs_of_jobs_are_told_how_they_ended_and_where_they_are_many_one_in_so_many(
    autojump_clock: MockClock,
) -> None:
    told: list[dict[str, Any]] = []
    jobs = ObservedJobs(told.append, sample_every=50)
    for what in ("added", "started", "released"):
        jobs.told(event(what))
    jobs.told(event("retried"))  # by an administrator: no run has ended
    assert told == []
    jobs.told(event("retried", error="no room"))
    jobs.told(event("failed", error="no room"))
    assert [(each["endpoint"], each["error"], each["duration_ms"]) for each in told] == [("job:gc", "no room", 250)] * 2
    told.clear()
    for _ in range(IN_FULL + 100):
        jobs.told(event("completed"))
    jobs.told(event("completed", queue="verify"))
    assert [each["endpoint"] for each in told].count("job:gc") == IN_FULL + 2
    assert told[-1]["endpoint"] == "job:verify"
    await trio.sleep(3_601)
    jobs.told(event("completed"))
    assert told[-1]["endpoint"] == "job:gc"
    assert all(READER.completed(each, AT).success for each in told)


def test_deliveries_are_told_of_by_their_figures_once_each() -> None:
    figures, told = RequestFigures(), list[dict[str, Any]]()
    deliveries = ObservedDeliveries(figures.statistics, told.append)
    for _ in range(3):
        figures.answered("POST", "/v1/training/ingest", 200, 0.002)
    figures.answered("POST", "/v1/training/ingest/batch", 507, 0.5)
    figures.answered("GET", "/v1/stats/summary", 200, 0.5)
    deliveries.look()
    deliveries.look()
    operations = [READER.completed(each, AT) for each in told]
    assert [(each.endpoint, each.success, each.count, each.duration_ms) for each in operations] == [
        ("POST /v1/training/ingest", True, 3, 2),
        ("POST /v1/training/ingest/batch", False, 1, 500),
    ]
    figures.answered("POST", "/v1/training/ingest", 200, 0.004)
    deliveries.look()
    assert (told[-1]["count"], told[-1]["duration_ms"], len(told)) == (1, 4, 3)
