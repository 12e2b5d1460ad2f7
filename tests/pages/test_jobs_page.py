"""`/jobs`: each state of a job and a queue is seen, and changed, from a page; each change is in the audit journal."""

import os
import re
from pathlib import Path

import pytest
import trio

from actors.curation.following import CurationStatistics
from central_command.access.tokens import Scope
from central_command.background.beside import CurationBeside, ExportsBeside, JobsBeside
from central_command.export_queue.queue import ExportQueue
from central_command.http.app import Offered
from central_command.http.endpoints.exports import ExportReport
from persistence.databases.jobs_database import JobsDatabase, JobStatus
from persistence.files.file_system import inline
from tests.job_engine import job_engine
from tests.pages.operated import Operated, operated
from tests.pages.page_client import pages_on
from tests.running_service import Running, settings_with


def polled(text: str) -> bool:
    return 'hx-trigger="every 2s"' in text


async def started(server: Operated) -> None:
    """Wait until the database knows the queues."""
    while not await server.jobs.queues():  # noqa: ASYNC110 (nobody tells)
        await trio.sleep(0.01)


async def test_an_empty_server_says_what_comes_and_how_to_begin(tmp_path: Path) -> None:
    async with operated(tmp_path) as server:
        await started(server)
        page = await server.browser.get("/jobs")
        assert page.status == 200
        assert "Nothing was done yet." in page.said
        assert "central-command jobs run gc" in page.said
        assert "30 4 29 2 * UTC" in page.said
        assert "(UTC)" not in page.said, "times are shown in the reader's own zone"


async def test_a_list_of_all_jobs_says_what_is_listed_with_its_queue_alone(tmp_path: Path) -> None:
    def beside(run: Running) -> Offered:
        figures = CurationStatistics(
            followed_n=3, reached_n=3, waiting_since=None, records=3, passed_over={}, is_out_of_room=False
        )
        jobs = job_engine(JobsDatabase(run.root / "jobs.db", run.clock), run.clock)
        beside_them = JobsBeside(jobs, [CurationBeside(lambda: None, lambda: figures)])
        return Offered(jobs=run.service.desks.admin_jobs(beside_them))

    async with pages_on(tmp_path, Scope.ADMIN, offering=beside) as browser:
        page = await browser.get("/jobs")
        assert "Beside these, counted above and not listed here: 3 of curation" in page.said
        assert "There are no other jobs." in page.said
        assert "Nothing was done yet." not in page.said
        assert "3 of curation" in (await browser.get("/jobs?status=completed&queue=")).said
        assert "There are no failed jobs." in (await browser.get("/jobs?status=failed")).said
        page = await browser.get("/jobs?queue=curation")
        assert "Curation has no job for each session." in page.said
        assert "Beside these" not in page.said


async def test_jobs_are_listed_with_their_states_and_filtered_in_the_address(tmp_path: Path) -> None:
    async with operated(tmp_path) as server:
        failed, done = await server.add("badly"), await server.add("well")
        later = await server.add("well", "nightly", delay_s=3_600.0)
        await server.until(failed, JobStatus.FAILED)
        await server.until(done, JobStatus.COMPLETED)
        page = await server.browser.get("/jobs")
        for job_id in (failed, done, later):
            assert f'href="/jobs/{job_id}"' in page.text
        assert "It went &lt;b&gt;wrong&lt;/b&gt;." in page.text
        page = await server.browser.get("/jobs?status=failed&queue=work")
        assert (f'"/jobs/{failed}"' in page.text, f'"/jobs/{done}"' in page.text) == (True, False)
        assert "1 failed job of work," in page.said
        page = await server.browser.get("/jobs?status=active")
        assert "There are no active jobs." in page.said
        page = await server.browser.get("/jobs?status=&queue=")
        assert f'"/jobs/{later}"' in page.text, "a form sends empty fields for what is not chosen"


async def test_pages_go_on_by_cursor_and_keep_the_filter(tmp_path: Path) -> None:
    async with operated(tmp_path, runs_jobs=False) as server:
        for _ in range(51):
            await server.add("well")
        page = await server.browser.get("/jobs?queue=work")
        (link,) = re.findall(r'rel="next" href="([^"]+)"', page.text)
        rest = await server.browser.get(link.replace("&amp;", "&"))
        assert re.findall(r'<a href="/jobs/(work__\d+)">', rest.text) == ["work__1"]
        assert "First page" in rest.said


@pytest.mark.parametrize(
    ("ends", "delay_s", "status", "change", "action", "then"),
    [
        ("badly", 0.0, JobStatus.FAILED, "retry", "job_retried", "The job waits again"),
        ("never", 0.0, JobStatus.ACTIVE, "cancel", "job_cancelled", "The job is cancelled."),
        ("well", 3_600.0, JobStatus.DELAYED, "promote", "job_promoted", "The job waits no longer"),
        ("badly", 0.0, JobStatus.FAILED, "remove", "job_removed", "The job is removed."),
    ],
)
async def test_a_job_is_changed_from_its_page_and_the_change_is_noted(
    tmp_path: Path, ends: str, delay_s: float, status: JobStatus, change: str, action: str, then: str
) -> None:
    async with operated(tmp_path) as server:
        job_id = await server.add(ends, delay_s=delay_s)
        await server.until(job_id, status)
        page = await server.browser.get(f"/jobs/{job_id}")
        assert f'action="/jobs/{job_id}/{change}"' in page.text
        answer = await server.browser.post(f"/jobs/{job_id}/{change}")
        assert answer.status == 303
        assert then in (await server.browser.get(answer.headers["Location"])).said
        assert await server.noted() == [(action, job_id)]


@pytest.mark.parametrize(
    ("change", "action", "then"),
    [("pause", "queue_paused", "The queue is paused"), ("run", "job_run", "The job waits; it begins")],
)
async def test_a_queue_is_changed_from_the_page_and_the_change_is_noted(
    tmp_path: Path, change: str, action: str, then: str
) -> None:
    async with operated(tmp_path, runs_jobs=change == "run") as server:
        await server.add("well", "nightly", delay_s=3_600.0)
        if change == "run":
            await started(server)
        else:
            server.jobs._schedule.declare(["work", "nightly"], [], now=server.browser.run.clock.now)
        answer = await server.browser.post(f"/jobs/queues/nightly/{change}")
        assert answer.status == 303, answer.said
        assert then in (await server.browser.get(answer.headers["Location"])).said
        assert await server.noted() == [(action, "nightly")]
        if change == "pause":
            assert 'action="/jobs/queues/nightly/resume"' in (await server.browser.get("/jobs")).text
            assert (await server.browser.post("/jobs/queues/nightly/resume")).status == 303
            assert (await server.noted())[-1] == ("queue_resumed", "nightly")


async def test_a_running_jobs_page_asks_for_its_state_again_until_it_has_ended(tmp_path: Path) -> None:
    async with operated(tmp_path) as server:
        job_id = await server.add("never")
        await server.until(job_id, JobStatus.ACTIVE)
        assert polled((await server.browser.get(f"/jobs/{job_id}")).text)
        state = await server.browser.get(f"/jobs/{job_id}/state")
        assert polled(state.text)
        assert "<html" not in state.text
        await server.browser.post(f"/jobs/{job_id}/cancel")
        assert not polled((await server.browser.get(f"/jobs/{job_id}/state")).text)
        await server.browser.post(f"/jobs/{job_id}/remove")
        gone = await server.browser.get(f"/jobs/{job_id}/state", HX_Request="true")
        assert (gone.status, polled(gone.text), "no such job" in gone.text) == (200, False, True)


async def test_the_latest_rows_ask_for_themselves_until_they_have_ended_and_only_a_change_is_put_in(
    tmp_path: Path,
) -> None:
    async with operated(tmp_path) as server:
        await server.until(await server.add("well"), JobStatus.COMPLETED)
        assert not polled((await server.browser.get("/jobs")).text)
        jobs = [await server.add("never", "nightly", delay_s=3_600.0) for _ in range(3)]
        asking = re.findall(
            r'hx-get="/jobs/(nightly__\d+)/row\?was=delayed-0"', (await server.browser.get("/jobs")).text
        )
        assert asking == [jobs[2], jobs[1]]
        path = f"/jobs/{jobs[2]}"
        unchanged = await server.browser.get(f"{path}/row?was=delayed-0")
        assert (unchanged.status, unchanged.text) == (204, "")
        await server.browser.post(f"{path}/promote")
        await server.until(jobs[2], JobStatus.ACTIVE)
        row = await server.browser.get(f"{path}/row?was=delayed-0")
        assert row.text.strip().startswith(f'<tr hx-get="{path}/row?was=active-1"')
        assert polled(row.text)
        await server.browser.post(f"{path}/cancel")
        row = await server.browser.get(f"{path}/row?was=active-1")
        assert (polled(row.text), ">failed<" in row.text) == (False, True)
        await server.browser.post(f"{path}/remove")
        gone = await server.browser.get(f"{path}/row?was=failed-1", HX_Request="true")
        assert (gone.status, gone.text) == (200, "")


async def test_a_jobs_page_shows_what_it_was_asked_its_events_its_log_and_its_result(tmp_path: Path) -> None:
    async with operated(tmp_path) as server:
        job_id = await server.add("well")
        await server.until(job_id, JobStatus.COMPLETED)
        said = (await server.browser.get(f"/jobs/{job_id}")).said
        for text in ('"ends": "well"', '"well": true', "did it", "added", "started", "completed", "1 of 5"):
            assert text in said


async def test_what_cannot_be_done_is_said_as_a_page_and_changes_nothing(tmp_path: Path) -> None:
    async with operated(tmp_path) as server:
        job_id = await server.add("well")
        await server.until(job_id, JobStatus.COMPLETED)
        page = await server.browser.post(f"/jobs/{job_id}/cancel")
        assert (page.status, "The job is completed, so it cannot be cancelled." in page.said) == (409, True)
        for path in ("/jobs/work__77/retry", f"/jobs/{job_id}/burn", "/jobs/queues/no/pause", "/jobs/queues/work/run"):
            assert (await server.browser.post(path)).status == 404, path
        assert (await server.browser.get("/jobs/work__77")).status == 404
        for query, sentence in (
            ("cursor=x&queue=", "cursor must be what the page before gave as nextCursor."),
            ("queue=Work", "queue must be the name of a queue."),
            ("queue=work&queue=nightly", "queue must be the name of a queue."),
            ("limit=0&status=", "limit must be a whole number from 1 to 200."),
        ):
            page = await server.browser.get(f"/jobs?{query}")
            assert (page.status, sentence in page.said) == (400, True), (query, page.said)
        page = await server.browser.post(f"/jobs/{job_id}/remove", {"Sec_Fetch_Site": "cross-site"})
        assert page.status == 403
        assert await server.noted() == []


async def test_an_export_is_called_the_same_among_jobs_and_exports_and_each_leads_to_the_other(tmp_path: Path) -> None:
    queues: list[ExportQueue] = []

    def beside(run: Running) -> Offered:
        queues.append(ExportQueue(settings_with(), run.root, clock=run.clock, random_bytes=os.urandom, offload=inline))
        jobs = JobsBeside(
            job_engine(JobsDatabase(run.root / "jobs.db", run.clock), run.clock), [ExportsBeside(*queues)]
        )
        desks = run.service.desks
        return Offered(jobs=desks.admin_jobs(jobs), exports=desks.exports(*queues))

    async with pages_on(tmp_path, Scope.ADMIN, Scope.EXPORT, offering=beside) as browser:
        asked = await queues[0].ask({"formats": ["messages"]})
        assert isinstance(asked, ExportReport)
        job_id = f"export__{asked.id}"
        number = 1 + int(asked.id.removeprefix("exp_")[:14], 16)
        assert f'href="/jobs/{job_id}"' in (await browser.get("/jobs?queue=export")).text
        for known in (job_id, f"export__{number}"):
            page = await browser.get(f"/jobs/{known}")
            assert (page.status, f"<h1>{job_id}</h1>" in page.text) == (200, True), "an id of before leads there, too"
            assert f'href="/exports/{asked.id}"' in page.text
        assert f'href="/jobs/{job_id}"' in (await browser.get(f"/exports/{asked.id}")).text


async def test_only_who_administers_sees_jobs(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.READ, Scope.EXPORT) as server:
        job_id = await server.add("well")
        for answer in (
            await server.browser.get("/jobs"),
            await server.browser.get(f"/jobs/{job_id}"),
            await server.browser.get(f"/jobs/{job_id}/state"),
            await server.browser.post(f"/jobs/{job_id}/remove"),
            await server.browser.post("/jobs/queues/work/pause"),
        ):
            assert answer.status == 403
