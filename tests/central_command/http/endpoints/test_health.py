"""Probes: the older two as they are, `/livez` that also sees a disk that hangs, `/readyz` check by check."""

import json
import logging
import re
from typing import Any

import pytest

from central_command.http.gateway import Readiness
from central_command.http.requests.replies import Reply
from central_command.process.logs import REQUEST_ID
from tests.central_command.http.description.test_openapi import check_described

NOT_READY = Readiness(
    ready=False, checks={"disk": "disk_full", "embedding": "loading"}, not_needed=frozenset({"embedding"})
)


async def asked(client: Any, path: str) -> tuple[int, bytes, Any]:
    """Ask, and compare the answer with the description; return its status, body and members."""
    answer = await client.get(path)
    body = await answer.get_data()
    headers = tuple((name, answer.headers[name]) for name in ("Retry-After",) if name in answer.headers)
    check_described("get", path.partition("?")[0], Reply(answer.status_code, body, headers))
    return answer.status_code, body, json.loads(body)


async def test_the_older_probes_are_as_they_were(client: Any, gateway: Any) -> None:
    """Byte for byte: others read them."""
    assert (await asked(client, "/health"))[1] == (
        b'{"status":"ok","uptime":12.5,"last_full_check":"2026-11-20T12:00:00Z",'
        b'"curation_lag":{"trajectories":2,"texts":1,"seconds":0.5}}'
    )
    assert (await asked(client, "/ready"))[1] == b'{"ready":true,"checks":{"journal":"ok"}}'
    gateway.ready = NOT_READY
    body = (
        b'{"error":"The service cannot take envelopes in now.","ready":false,'
        b'"checks":{"disk":"disk_full","embedding":"loading"}}'
    )
    assert (await asked(client, "/ready"))[:2] == (503, body)


async def test_it_lives_while_the_writers_move(client: Any, gateway: Any) -> None:
    """A journal that hangs is named, with for how long."""
    assert await asked(client, "/livez") == (200, b'{"live":true}', {"live": True})
    gateway.stalls = {"envelopes": 41.6}
    status, _, members = await asked(client, "/livez")
    assert (status, members["live"]) == (503, False)
    assert "envelopes (for 42 s)" in members["error"]


async def test_readiness_is_told_check_by_check_if_that_is_asked_for(client: Any, gateway: Any) -> None:
    """With what each says, and whether it counts."""
    assert (await asked(client, "/readyz"))[2] == {"ready": True}
    gateway.ready = NOT_READY
    assert (await asked(client, "/readyz"))[::2] == (
        503,
        {"error": "The service cannot take envelopes in now.", "ready": False},
    )
    for query in ("verbose", "verbose=1", "verbose=&x=y"):
        status, _, members = await asked(client, f"/readyz?{query}")
        assert (status, members["uptime"]) == (503, 12.5)
        assert members["checks"] == [
            {"name": "disk", "ok": False, "needed": True, "detail": "disk_full"},
            {"name": "embedding", "ok": False, "needed": False, "detail": "loading"},
        ]


@pytest.mark.parametrize("path", ["/health", "/ready", "/livez", "/readyz"])
async def test_probes_are_not_limited(make_app: Any, path: str) -> None:
    """They are asked just then when there is too much to do."""
    client = make_app(requests_per_minute=1).test_client()
    assert [(await client.get(path)).status_code for _ in range(5)] == [200] * 5


DRAWN = re.compile(r"\A[0-9a-f]{24}\Z")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/nothing"),
        ("POST", "/health"),
        ("OPTIONS", "/anything"),
        ("GET", "/v1/stats/daily?days=x"),
        ("POST", "/v1/training/ingest"),
        ("POST", "/v1/training/ingest/batch"),
    ],
)
async def test_every_answer_has_an_id(client: Any, method: str, path: str) -> None:
    """The client's own if it is a sane one."""
    for own, is_kept in (("trace-1", True), ("a b", False), ("x" * 129, False)):
        answer = await client.open(path, method=method, headers={"X-Request-Id": own}, data=b"{}")
        [found] = answer.headers.getlist("X-Request-Id")
        assert found == own if is_kept else DRAWN.match(found)
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


async def test_answers_in_place_have_ids_of_their_own(served: Any, in_place: list[bytes]) -> None:
    """Also where the heads repeat each other, with an id or without, and what is no HTTP at all."""
    body = b'{"session_id":"sess_1","chunk_sequence":0}'
    found = []
    async with served() as server:
        client = await server.connect()
        for header in ("", "", "", "X-Request-Id: a-1\r\n", "X-Request-Id: a-1\r\n", "X-Request-Id: a-2\r\n"):
            await client.post("/v1/training/ingest", body, header)
            found.append((await client.answer()).headers["x-request-id"])
        await client.send(b"nothing\r\n\r\n")
        found.append((await client.answer()).headers["x-request-id"])
    assert len(in_place) == 4
    assert found[3:6] == ["a-1", "a-1", "a-2"]
    drawn = [*found[:3], found[6]]
    assert len(set(drawn)) == 4
    assert all(DRAWN.match(each) for each in drawn)


async def test_batches_answered_in_place_have_ids_of_their_own(served: Any, in_place: list[bytes]) -> None:
    """Which come with the first piece."""
    body = b'{"session_id":"sess_1","chunk_sequence":0}'
    found = []
    async with served() as server:
        client = await server.connect()
        for _ in range(2):
            await client.post("/v1/training/ingest/batch", body)
            head = (await client.answer_head()).lower()
            found.append(head.partition("x-request-id: ")[2].partition("\r\n")[0])
            await client.read_until(b"\r\n0\r\n\r\n")
    assert len(in_place) == 1
    assert found[0] != found[1]
    assert all(DRAWN.match(each) for each in found)


async def test_log_lines_of_a_request_know_its_id(served: Any, gateway: Any, in_place: list[bytes]) -> None:
    """A failure's line, and the request's own, whichever way it takes; none of it behind the request."""
    seen: list[tuple[str, str]] = []

    class Noted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.name, REQUEST_ID.get().decode()))

    logger = logging.getLogger("central_command")
    handler, level = Noted(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    gateway.ingesting = RuntimeError("no")
    try:
        async with served() as server:
            client = await server.connect()
            for own in ("one", "two"):
                await client.post("/v1/training/ingest", b'{"session_id":"sess_1"}', f"X-Request-Id: {own}\r\n")
                assert (await client.answer()).status == 500
            await client.get("/health", "X-Request-Id: three\r\n")
            await client.answer()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert len(in_place) == 1
    http, access = "central_command.http", "central_command.access"
    expected = [(http, "one"), (access, "one"), (http, "two"), (access, "two"), (access, "three")]
    assert sorted(each for each in seen if each[0] in {http, access}) == sorted(expected)
