"""What this server does itself is observed: requests that the framework answers, exports, starts and settings."""

from pathlib import Path
from typing import Any

from actors.envelopes.settings import SchemaSettings
from actors.observer.failures import change_of
from actors.observer.operation import Bounds, OperationReader
from central_command.http.app import create_app
from central_command.http.endpoints.exports import ExportReport, ExportState
from central_command.http.settings import HttpSettings
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
