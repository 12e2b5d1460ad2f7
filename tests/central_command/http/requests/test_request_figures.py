"""Requests are counted after their answer, by labels that a client cannot make more of."""

from typing import Any

from quart_trio import QuartTrio

from actors.envelopes.refusals import Refusal, RefusalCode
from central_command.http.requests.exchange import Edge
from central_command.http.requests.request_figures import BOUNDS_S, RequestFigures

INGEST = "/v1/training/ingest"
BODY = b'{"session_id":"sess_1","chunk_sequence":0}'


def counted(app: QuartTrio) -> dict[tuple[str, str, int], int]:
    edge = app.asgi_app
    assert isinstance(edge, Edge)
    durations = edge.figures.statistics().durations
    return {(kind.method, kind.route, kind.status): sum(found.counts) for kind, found in durations.items()}


def refused(app: QuartTrio) -> dict[str, int]:
    edge = app.asgi_app
    assert isinstance(edge, Edge)
    return edge.figures.statistics().refusals


async def test_requests_are_counted_by_their_routes(make_app: Any) -> None:
    """Not by their paths; what is no endpoint is one route, what is no known method one method."""
    app = make_app(embedder=None)
    client = app.test_client()
    for path in ("/health", "/v1/models/a", "/v1/models/b", "/nothing", "/v1/erasures/../x", "//health"):
        await client.get(path)
    await client.post("/health")
    await client.open("/health", method="BREW")
    await client.options("/v1/models/c")
    await client.options("/anything")
    assert counted(app) == {
        ("GET", "/health", 200): 1,
        ("GET", "/v1/models/<path:model>", 404): 2,
        ("GET", "", 404): 2,
        ("GET", "/health", 404): 1,
        ("POST", "", 405): 1,
        ("_OTHER", "", 405): 1,
        ("OPTIONS", "/v1/models/<path:model>", 204): 1,
        ("OPTIONS", "", 204): 1,
    }


async def test_what_is_refused_before_its_endpoint_is_known_has_its_route(make_app: Any) -> None:
    """Where that is just the path."""
    app = make_app(requests_per_minute=1)
    client = app.test_client()
    for path in ("/v1/stats/models", "/v1/stats/models", "/v1/models/a"):
        await client.get(path)
    assert counted(app) == {
        ("GET", "/v1/stats/models", 200): 1,
        ("GET", "/v1/stats/models", 429): 1,
        ("GET", "", 429): 1,
    }
    assert refused(app) == {"rate_limited": 2}


async def test_an_envelope_is_counted_whichever_way_it_takes(served: Any, gateway: Any, in_place: list[bytes]) -> None:
    """The first by an exchange, the next ones in place; refusals by their code, batches by their lines."""
    async with served() as server:
        client = await server.connect()
        for number in range(5):
            if number == 3:
                gateway.ingesting = Refusal(RefusalCode.INVALID_HMAC, "No.")
            await client.post(INGEST, BODY)
            assert (await client.answer()).status == 200
        await client.post(f"{INGEST}/batch", b"\n".join([BODY, b"no JSON", BODY]))
        await client.read_until(b"\r\n0\r\n\r\n")
        app = server.app
        assert len(in_place) == 4
        await client.get("/health")
        await client.answer()
    assert counted(app) == {
        ("POST", INGEST, 200): 5,
        ("POST", f"{INGEST}/batch", 200): 1,
        ("GET", "/health", 200): 1,
    }
    assert refused(app) == {"invalid_hmac": 4, "invalid_json": 1}


def test_the_buckets_are_those_of_opentelemetry() -> None:
    """Semantic conventions for HTTP metrics, `http.server.request.duration`."""
    assert BOUNDS_S == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


def test_codes_are_counted_and_no_code_is_not() -> None:
    """An answer without one is no refusal."""
    figures = RequestFigures()
    figures.refused(["a", "", "b", "a"])
    assert figures.statistics().refusals == {"a": 2, "b": 1}


def test_kinds_of_refusals_are_bounded_and_what_went_well_or_wrong_here_is_not() -> None:
    """Past the bound they are counted without a route; those that have a place keep it."""
    figures = RequestFigures(refused_kinds_max=2)
    for route in ("/a", "/b"):
        for status in (200, 404, 400, 500):
            figures.answered("GET", route, status, 0.1)
    figures.answered("GET", "/a", 404, 0.1)
    figures.answered("brew", "/a", 405, 0.1)
    durations = figures.statistics().durations
    assert {(kind.method, kind.route, kind.status): sum(each.counts) for kind, each in durations.items()} == {
        ("GET", "/a", 200): 1,
        ("GET", "/a", 404): 2,
        ("GET", "/a", 400): 1,
        ("GET", "/a", 500): 1,
        ("GET", "/b", 200): 1,
        ("GET", "", 404): 1,
        ("GET", "", 400): 1,
        ("GET", "/b", 500): 1,
        ("_OTHER", "", 405): 1,
    }
