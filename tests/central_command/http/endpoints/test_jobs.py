"""`/api/admin/jobs`: with a token of its scope; pages, one job, what may be done with it, or one sentence why not."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.envelopes.settings import SchemaSettings
from actors.jobs.queue import NotRetried, Run
from central_command.http.app import create_app
from central_command.http.requests.replies import Reply
from central_command.http.settings import HttpSettings
from persistence.databases.jobs_changing import Added
from persistence.databases.jobs_database import JobsDatabase
from persistence.format import times
from tests.central_command.http.description.test_openapi import check_described
from tests.job_engine import job_engine
from tests.running_service import Running, running, settings_with
from tests.submitted_texts import leave_token

JOBS = "/api/admin/jobs"


class Payload(msgspec.Struct):
    """What a job is to do: to end well or badly, or not yet."""

    ends: str


async def handler(run: Run[Payload]) -> object:
    if run.payload.ends == "badly":
        raise NotRetried("It went wrong.")
    if run.payload.ends == "never":
        await trio.sleep_forever()
    run.log("did it")
    return {"well": True}


class Asked:
    """A service behind its HTTP application, with jobs, and a token of their scope."""

    def __init__(self, run: Running, **settings: Any) -> None:
        self.run = run
        self.token, _ = leave_token(run.root, "admin", now=run.clock.now)
        self.others, _ = leave_token(run.root, "read", "export", "intake", now=run.clock.now)
        self.database = JobsDatabase(run.root / "jobs.db", run.clock)
        self.jobs = job_engine(self.database, run.clock)
        self.jobs.register("work", Payload, handler, concurrency=2)
        self.jobs.register("other", Payload, handler)
        self.jobs.add_repeatable("other", "other", Payload("never"), "30 4 29 2 *")
        app = create_app(
            run.service,
            HttpSettings(),
            schema=SchemaSettings(),
            clock=run.clock,
            jobs=run.service.desks.admin_jobs(self.jobs),
        )
        self.client: Any = app.test_client()

    async def send(self, method: str, path: str = "", *, token: str | None = None) -> tuple[int, Any]:
        """Send a request; return what was answered, which the description knows."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        answer = await getattr(self.client, method)(f"{JOBS}{path}", headers=headers)
        body = await answer.get_data()
        kept = {name: answer.headers[name] for name in ("WWW-Authenticate", "Retry-After") if name in answer.headers}
        template = re.sub(r"\?.*", "", re.sub(r"/(work|other|no)\b(?=/)", "/{name}", f"{JOBS}{path}"))
        template = re.sub(rf"{JOBS}/(?!queues)[^/]+", f"{JOBS}/{{job_id}}", template)
        if answer.status_code != 403:  # its challenge is not described
            check_described(method, template, Reply(answer.status_code, body, tuple(kept.items())))
        return answer.status_code, json.loads(body)

    async def add(self, ends: str, queue: str = "work", **options: Any) -> str:
        added = await self.jobs.add(queue, "do", Payload(ends), **options)
        assert isinstance(added, Added)
        return f"{queue}__{added.job.job_id}"

    async def job(self, job_id: str) -> Any:
        status, job = await self.send("get", f"/{job_id}")
        assert status == 200
        return job

    async def noted(self) -> list[tuple[str, str]]:
        """What the audit journal says that was changed."""
        entries = await self.run.service.access.audit.entries(after_n=0, limit=100)
        return [(entry.action, entry.subject) for entry in entries]

    async def until(self, job_id: str, status: str) -> Any:
        while (job := await self.job(job_id))["status"] != status:  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.01)
        return job


@asynccontextmanager
async def serving(root: Path, **settings: Any) -> AsyncIterator[Asked]:
    async with running(root, settings=settings_with(jobs=settings)) as run, trio.open_nursery() as nursery:
        server = Asked(run)
        nursery.start_soon(server.jobs.run)
        yield server
        nursery.cancel_scope.cancel()
    server.database.close()


async def test_a_job_is_shown_with_the_members_that_its_callers_know(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        job_id = await server.add("well")
        job = await server.until(job_id, "completed")
        assert (job["id"], job["name"], job["queue"], job["attempts"], job["maxAttempts"]) == (
            job_id,
            "do",
            "work",
            1,
            5,
        )
        assert (job["data"], job["result"], job["failedReason"]) == ({"ends": "well"}, {"well": True}, None)
        assert job["createdAt"] <= job["processedAt"] <= job["finishedAt"]
        assert [event["event"] for event in job["events"]] == ["added", "started", "completed"]
        assert [line["line"] for line in job["log"]] == ["did it"]
        _, page = await server.send("get", "?status=completed")
        assert page["total"] == 1
        assert page["jobs"] == [{name: value for name, value in job.items() if name not in {"events", "log"}}]


async def test_pages_are_by_status_and_queue_and_cursor_and_an_unknown_status_has_none(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        ids = [await server.add("well", delay_s=3_600.0) for _ in range(5)]
        other = await server.add("well", "other", delay_s=3_600.0)
        seen, cursor = [], ""
        while cursor is not None:
            _, page = await server.send("get", f"?status=delayed&queue=work&limit=2{cursor}")
            assert (page["total"], len(page["jobs"]) <= 2) == (5, True)
            seen += [job["id"] for job in page["jobs"]]
            cursor = f"&cursor={page['nextCursor']}" if "nextCursor" in page else None
        assert seen == ids[::-1]
        _, everything = await server.send("get")
        assert [job["id"] for job in everything["jobs"]] == [other, *ids[::-1]]
        assert await server.send("get", "?status=sleeping") == (200, {"jobs": [], "total": 0})
        assert await server.send("get", "?status=active") == (200, {"jobs": [], "total": 0})


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?queue=Work!", "queue must be the name of a queue."),
        ("?cursor=x", "cursor must be what the page before gave as nextCursor."),
        ("?cursor=0", "cursor must be what the page before gave as nextCursor."),
        ("?limit=0", "limit must be a whole number from 1 to 200."),
        ("?limit=201", "limit must be a whole number from 1 to 200."),
        ("?limit=9999999999999999999999", "limit must be a whole number from 1 to 200."),
    ],
)
async def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path: Path, query: str, sentence: str) -> None:
    async with serving(tmp_path) as server:
        assert await server.send("get", query) == (400, {"error": sentence})


async def test_a_failed_job_is_retried_and_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        failed = await server.add("badly")
        assert (await server.until(failed, "failed"))["failedReason"] == "It went wrong."
        done = await server.add("well")
        await server.until(done, "completed")
        answer = {"ok": True, "message": f"The job {failed} waits again."}
        assert await server.send("post", f"/{failed}/retry") == (200, answer)
        assert len((await server.until(failed, "failed"))["events"]) == 6
        assert await server.noted() == [("job_retried", failed)]
        refused = {"error": "The job is completed, so it cannot be retried."}
        assert await server.send("post", f"/{done}/retry") == (404, refused)
        for unknown in ("work__77", "other__1", "work", "work__0", "work__1__2", "work__99999999999999999999"):
            for method, path in (
                ("post", "/retry"),
                ("post", "/cancel"),
                ("post", "/promote"),
                ("get", ""),
                ("delete", ""),
            ):
                answer = await server.send(method, f"/{unknown}{path}")
                assert answer == (404, {"error": "There is no such job."}), (unknown, path)


async def test_a_job_is_cancelled_promoted_and_removed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        active, delayed = await server.add("never"), await server.add("well", delay_s=3_600.0)
        await server.until(active, "active")
        refused = {"error": "The job is active, so it cannot be removed."}
        assert await server.send("delete", f"/{active}") == (409, refused)
        assert (await server.send("post", f"/{active}/cancel"))[0] == 200
        assert (await server.job(active))["failedReason"] == "It was cancelled."
        assert (await server.send("post", f"/{active}/cancel"))[0] == 409
        assert (await server.send("post", f"/{active}/promote"))[0] == 409
        assert (await server.send("post", f"/{delayed}/promote"))[0] == 200
        await server.until(delayed, "completed")
        assert (await server.send("delete", f"/{delayed}"))[0] == 200
        assert (await server.send("get", f"/{delayed}"))[0] == 404
        assert await server.noted() == [("job_cancelled", active), ("job_promoted", delayed), ("job_removed", delayed)]


async def test_queues_are_counted_paused_and_resumed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert (await server.send("post", "/queues/work/pause"))[1]["message"] == "The queue work is paused."
        await server.add("well")
        none = {"active": 0, "completed": 0, "failed": 0, "delayed": 0}
        _, found = await server.send("get", "/queues")
        since = found["queues"][1]["paused_at"]
        assert times.from_text(since) <= server.run.clock.now + 1e-6  # it is written to the microsecond
        assert found["queues"] == [
            {"name": "other", "waiting": 0, "paused": False, "paused_at": None, **none},
            {"name": "work", "waiting": 1, "paused": True, "paused_at": since, **none},
        ]
        assert (await server.send("post", "/queues/work/resume"))[0] == 200
        for change in ("pause", "resume"):
            assert await server.send("post", f"/queues/no/{change}") == (404, {"error": "There is no such queue."})
        assert await server.noted() == [("queue_paused", "work"), ("queue_resumed", "work")]


async def test_what_is_repeated_is_done_now_and_not_twice_at_a_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        while not await server.jobs.queues():  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.01)
        (scheduled,) = server.jobs.schedules()
        assert (scheduled.queue, scheduled.name, scheduled.cron) == ("other", "other", "30 4 29 2 *")
        assert scheduled.next_at > server.run.clock.now
        assert await server.send("post", "/queues/other/run") == (
            200,
            {"ok": True, "message": "The job other__1 waits."},
        )
        await server.until("other__1", "active")
        refused = {"error": "A job other is unfinished already."}
        assert await server.send("post", "/queues/other/run") == (409, refused)
        refused = {"error": "No job of that name is repeated."}
        assert await server.send("post", "/queues/work/run") == (404, refused)
        assert await server.noted() == [("job_run", "other")]


async def test_only_a_token_of_the_scope_gets_in_and_not_too_often(tmp_path: Path) -> None:
    async with serving(tmp_path, requests_per_minute=3) as server:
        for method, path in (("get", ""), ("get", "/queues"), ("post", "/work__1/retry"), ("delete", "/work__1")):
            assert (await server.send(method, path, token="cc_wrong"))[0] == 401
            assert (await server.send(method, path, token=server.others))[0] == 403
        statuses = [(await server.send("get"))[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]


async def test_a_database_that_is_damaged_is_a_503_and_nothing_else_minds(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        job_id = await server.add("well")
        await server.until(job_id, "completed")
        server.database.close()
        (tmp_path / "jobs.db").write_bytes(b"x" * 8_192)
        status, answer = await server.send("get", "/queues")
        assert (status, answer) == (503, {"error": "Jobs cannot be used now; send this request again later."})
        assert (await server.client.get("/health")).status_code == 200
