"""`/metrics`: with a token, in both formats, and with the figures that are told elsewhere, too."""

import gc
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.curation.following import CurationStatistics
from actors.embedding.cache import CacheStatistics
from actors.embedding.nursery import EmbeddingStatistics, State
from actors.jobs.engine import JobsStatistics
from actors.observer.observer import ObserverStatistics
from central_command.http.gateway import CurationLag
from central_command.http.requests.request_figures import METHODS, HttpFigures, RequestFigures
from central_command.metrics.exposition import write
from persistence.databases.jobs_listing import QueueCounts
from tests.actors.observer.observing import watching
from tests.central_command.metrics.scraping import METRICS, OPENMETRICS, Scraped, families_of, samples_of, scraping
from tests.submitted_texts import leave_token

NAME = re.compile(r"\A(central_command|process|http_server)_[a-z][a-z0-9_]*\Z")
EMBEDDING = EmbeddingStatistics(
    state=State.READY,
    **dict.fromkeys(
        set(EmbeddingStatistics.__struct_fields__) - {"state", "cache"},
        7,  # type: ignore[arg-type]
    ),
    cache=CacheStatistics(entries=1, bytes=2, hits=3, misses=4),
)
CURATION = CurationStatistics(
    followed_n=1, reached_n=3, waiting_since=None, records=5, passed_over={"withdrawn": 2}, is_out_of_room=False
)


JOBS = JobsStatistics(
    queues=(
        QueueCounts(name="gc", completed=7),
        QueueCounts(name="verify", failed=2, paused=True, paused_at="2026-11-20T12:12:17.000000Z"),
    ),
    running=1,
    events_lost=0,
    is_out_of_order=False,
)
OBSERVER = ObserverStatistics(
    ring_operations=1,
    recorded=2,
    refused=3,
    own_left_out=4,
    corrections=5,
    corrections_unreadable=6,
    groups=7,
    cycles=8,
)


async def everything_on(server: Scraped, http: HttpFigures | None = None) -> Any:
    """The figures with those of parts that this service has not."""
    edge: Any = server.app.asgi_app
    http = http or HttpFigures(edge.figures.statistics(), edge.admission.statistics())
    figures = server.exposing.taken(http, await server.run.service.summary(), {"backup": 1.0, "verify": 2.0})
    check = msgspec.structs.replace(figures.service.check, last_full_pass_at=3.0)
    service = msgspec.structs.replace(figures.service, embedding=EMBEDDING, curation=CURATION, check=check)
    figures = msgspec.structs.replace(figures, jobs=JOBS, observer=OBSERVER)
    return msgspec.structs.replace(figures, service=service, lag=CurationLag(trajectories=2, texts=1, seconds=90.5))


def of(samples: Mapping[Any, float], name: str, **labels: str) -> float:
    return samples[f"central_command_{name}", frozenset(labels.items())]


async def test_the_figures_are_those_of_stats(tmp_path: Path) -> None:
    """`/v1/stats/summary`, which `central-command stats` prints, says the same at the same moment."""
    async with scraping(tmp_path) as server:
        client = await server.run.open("sess_1")
        await server.run.open("sess_2")
        await server.run.send(client.chunk())
        await server.run.send(client.close())
        await server.run.projected()
        summary = await (await server.client.get("/v1/stats/summary")).get_json()
        samples = await server.samples()
    told = {
        "envelopes": "totalEnvelopes",
        "steps": "totalSteps",
        "sessions": "totalSessions",
        "open_sessions": "activeSessions",
        "unused_sessions": "unusedSessions",
        "contributors": "uniqueContributors",
        "credited_points": "totalPointsAwarded",
    }
    assert {name: of(samples, name) for name in told} == {name: summary[member] for name, member in told.items()}
    assert summary["totalEnvelopes"] > 0
    assert summary["totalPointsAwarded"] > 0
    stored = sum(value for (name, _), value in samples.items() if name == "central_command_journal_stored_bytes")
    assert stored == of(samples, "quota_used_bytes") + of(samples, "refused_quota_used_bytes")
    assert round(stored / 2**20, 2) == summary["storageSizeMb"]


async def test_journals_say_what_they_hold(tmp_path: Path) -> None:
    """Lines, commits, and a sync for each."""
    async with scraping(tmp_path) as server:
        client = await server.run.open("sess_1")
        for _ in range(3):
            await server.run.send(client.chunk())
        samples = await server.samples()
    assert of(samples, "journal_lines_total", journal="envelopes") == 3
    assert of(samples, "journal_commits_total", journal="envelopes") == 3
    assert of(samples, "journal_sync_duration_seconds_count", journal="envelopes") == 3
    assert of(samples, "journal_sync_duration_seconds_bucket", journal="envelopes", le="+Inf") == 3
    assert of(samples, "journal_queue_lines", journal="envelopes") == 0
    assert of(samples, "ready") == 1
    assert of(samples, "full_collections_total") == 3


async def test_jobs_are_told_by_queue_and_state(tmp_path: Path) -> None:
    """All states of each queue, also those that nothing is in."""
    async with scraping(tmp_path) as server:
        samples = samples_of(write(await everything_on(server), openmetrics=False).decode())
    jobs = {
        (dict(labels)["queue"], dict(labels)["state"]): value
        for (name, labels), value in samples.items()
        if name == "central_command_jobs"
    }
    assert {key: value for key, value in jobs.items() if value} == {("gc", "completed"): 7, ("verify", "failed"): 2}
    assert len(jobs) == 10
    assert of(samples, "job_queue_paused", queue="verify") == 1
    since = {labels: value for (name, labels), value in samples.items() if "paused_timestamp" in name}
    assert since == {frozenset({("queue", "verify")}): 1_795_176_737.0}
    assert of(samples, "observed_operations_total") == 2


async def test_the_audit_journal_is_counted_whoever_writes_it(tmp_path: Path) -> None:
    """Each scrape goes on where the last one ended; the observer's journal is counted with the others."""
    async with scraping(tmp_path) as server:
        assert of(await server.samples(), "journal_lines_total", journal="audit") == 0
        audit = server.run.service.access.audit
        for number in (1, 2):
            await audit.note("command", "queue_paused", "gc", "")
            samples = await server.samples()
            assert of(samples, "journal_lines_total", journal="audit") == number
        [path] = (tmp_path / "audit").glob("*.jsonl")
        assert of(samples, "journal_stored_bytes", journal="audit") == path.stat().st_size
        assert ("central_command_journal_lines_total", frozenset({("journal", "operations")})) not in samples
        async with watching(tmp_path / "observed") as watched:
            await watched.say(success=True)
            server.exposing._observer = watched.observer
            assert of(await server.samples(), "journal_lines_total", journal="operations") == 1


async def test_requests_are_in_the_next_scrape(tmp_path: Path) -> None:
    """Under the names of OpenTelemetry; refusals by code; a scrape itself, too."""
    async with scraping(tmp_path) as server:
        await server.client.post("/v1/training/ingest", data=b"no JSON")
        await server.client.get("/nothing")
        await server.samples()
        samples = await server.samples()
    name = "http_server_request_duration_seconds"
    counts = {
        tuple(dict(labels)[key] for key in ("http_request_method", "http_route", "http_response_status_code")): value
        for (found, labels), value in samples.items()
        if found == f"{name}_count"
    }
    assert counts == {
        ("POST", "/v1/training/ingest", "400"): 1,
        ("GET", "", "404"): 1,
        ("GET", METRICS, "200"): 1,
    }
    buckets = {dict(labels)["le"] for found, labels in samples if found == f"{name}_bucket"}
    assert sorted(map(float, buckets)) == [
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
        float("inf"),
    ]
    assert of(samples, "refusals_total", code="invalid_json") == 1


async def test_it_needs_a_token_that_reads_or_administers(tmp_path: Path) -> None:
    """Any other is told what is missing, and nobody learns a figure."""
    async with scraping(tmp_path) as server:
        admin, _ = leave_token(server.run.root, "admin", now=server.run.clock.now)
        other, _ = leave_token(server.run.root, "intake", now=server.run.clock.now)
        assert (await server.ask(token=admin)).status_code == 200
        answer = await server.ask(token=other)
        assert (answer.status_code, "read or admin" in answer.text) == (403, True)
        assert (await server.ask(token="cc_" + "0" * 43)).status_code == 401
        answer = await server.client.get(METRICS)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_one_token_may_not_ask_all_the_time(tmp_path: Path) -> None:
    """Past `metrics.requests_per_minute` the answer is 429."""
    async with scraping(tmp_path, requests_per_minute=2) as server:
        assert [(await server.ask()).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (OPENMETRICS, True),
        ("application/openmetrics-text", True),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;version=\x7fevil,;;;q=,", True),
        ("application/openmetrics-text;version=9.9.9.9;escaping=rm", True),
    ],
)
async def test_the_format_is_the_one_asked_for(tmp_path: Path, accept: str, openmetrics: bool) -> None:  # noqa: FBT001
    """Text to whoever says nothing; whatever a header holds is no fault of the server's."""
    async with scraping(tmp_path) as server:
        answer = await server.ask(accept=accept)
    assert answer.status_code == 200
    kind = "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"
    assert answer.content_type == f"{kind}; charset=utf-8"
    assert answer.text.endswith("# EOF\n") == openmetrics


async def test_both_formats_say_the_same_in_good_names(tmp_path: Path) -> None:
    """With a unit, `_total` where a figure only rises, and words for each."""
    async with scraping(tmp_path) as server:
        figures = await everything_on(server)
    texts = [write(figures, openmetrics=openmetrics).decode() for openmetrics in (False, True)]
    plain, open_ = ({key: value for key, value in samples_of(text).items() if _is_ours(key[0])} for text in texts)
    assert plain == open_
    for family in families_of(texts[1]):
        assert NAME.match(family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert family.type in {"counter", "gauge", "histogram"}
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_ms", "_mb"))
        if "_seconds" in family.name or "_bytes" in family.name:
            assert family.name.startswith("process_") or family.unit in {"seconds", "bytes"}, family.name


def _is_ours(name: str) -> bool:
    return not name.startswith("process_")


async def test_nobody_can_make_more_series(tmp_path: Path) -> None:
    """Methods and paths are a client's to choose; they are as many as there are endpoints."""
    async with scraping(tmp_path) as server:
        for number in range(200):
            await server.client.get(f"/made-up/{number}")
            await server.client.get(f"/v1/erasures/er_{number:016x}")
            await server.client.open("/health", method=f"M{number}")
        answer = await server.ask()
    routes = {
        line for line in answer.text.splitlines() if line.startswith("http_server_request_duration_seconds_count")
    }
    assert len(routes) <= 8  # also those that the budget of the address refused
    assert "made-up" not in answer.text
    assert "M199" not in answer.text


async def test_a_scrape_takes_the_event_loop_less_than_two_milliseconds(tmp_path: Path) -> None:
    """With everything on and each kind of request seen: taking the figures; a thread writes them, a piece at a time."""
    async with scraping(tmp_path) as server:
        requests = RequestFigures()
        edge: Any = server.app.asgi_app
        for route in edge.fixed_routes:
            for method in METHODS:
                for status in (200, 429):
                    requests.answered(method, route, status, 0.01)
        http = HttpFigures(requests.statistics(), edge.admission.statistics())
        took_s = []
        gc.disable()
        try:
            for _ in range(20):
                began_at = time.thread_time()
                requests.statistics()
                edge.admission.statistics()
                figures = server.exposing.taken(http, await server.run.service.summary(), {})
                took_s.append(time.thread_time() - began_at)
        finally:
            gc.enable()
        assert min(took_s) < 0.002
        await trio.to_thread.run_sync(lambda: write(figures, openmetrics=True))
