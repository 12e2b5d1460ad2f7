"""What holds for every endpoint: JSON, CORS, errors, the log line and the bounds."""

import logging
import re
from typing import Any

import pytest
import trio
from werkzeug.exceptions import NotFound

from central_command.http.gateway import Readiness
from central_command.http.requests.request_log import RequestLog, printable
from central_command.http.settings import HttpSettingsError
from tests.central_command.http.conftest import OPENING

PATHS = ["/health", "/v1/stats/summary", "/v1/sessions/open", "/v1/training/ingest", "/v1/embed", "/nowhere"]


def access_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the request log so far."""
    return [record.getMessage() for record in caplog.records if record.name == "central_command.access"]


@pytest.mark.parametrize("path", PATHS)
async def test_options_is_a_preflight_on_every_path(path: str, client: Any) -> None:
    """204 without a body, and everything that a browser asks for."""
    answer = await client.options(path)
    assert answer.status_code == 204
    assert await answer.get_data() == b""
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert answer.headers["Access-Control-Max-Age"] == "86400"


@pytest.mark.parametrize("path", ["/v1/embed", "/v1/embeddings"])
async def test_a_preflight_allows_what_openai_s_clients_send(path: str, client: Any) -> None:
    """Of what the page asks for, and nothing else; on other paths it stays with the content type."""
    asked = "authorization,content-type, X-Stainless-Lang,x-stainless-retry-count,openai-project,cookie,x\u00e4,,*"
    asked += ",User-Agent"
    answer = await client.options(path, headers={"Access-Control-Request-Headers": asked})
    allowed = "Content-Type, authorization, x-stainless-lang, x-stainless-retry-count, openai-project, user-agent"
    assert answer.headers["Access-Control-Allow-Headers"] == allowed
    answer = await client.options("/v1/training/ingest", headers={"Access-Control-Request-Headers": asked})
    assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "TRACE", "BREW"])
async def test_every_answer_is_json_with_cors(path: str, method: str, client: Any) -> None:
    """Errors too: a browser shows a client nothing of an answer without the header."""
    answer = await client.open(path, method=method)
    assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert answer.headers["Content-Type"] == "application/json"
    body = await answer.get_json()
    if answer.status_code >= 400:
        assert body["reason" if path == "/v1/training/ingest" else "error"].endswith(".")


async def test_an_unknown_path_is_404(client: Any) -> None:
    """Also with a slash too many: nothing is redirected."""
    for path in ("/nowhere", "/health/", "//health", "///v1/stats/summary", "/v1/stats//summary", "/v1/stats/"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert set(await answer.get_json()) == {"error"}


async def test_a_wrong_method_is_405_and_says_which_are_right(client: Any) -> None:
    """RFC 9110, section 15.5.6."""
    answer = await client.post("/health")
    assert answer.status_code == 405
    assert {"GET", "HEAD"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("get", "/health", "GET, HEAD, OPTIONS"),
        ("Options", "/v1/stats/summary", "GET, HEAD, OPTIONS"),
        ("post", "/v1/training/ingest", "OPTIONS, POST"),
        ("post", "/v1/sessions/open", "OPTIONS, POST"),
    ],
)
async def test_methods_are_case_sensitive(method: str, path: str, allowed: str, client: Any, gateway: Any) -> None:
    """RFC 9110, section 9.1: what is not written as it ought to be is another method."""
    answer = await client.open(path, method=method, data=b"{}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert gateway.asked == []


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/stats/summary"])
async def test_head_works_where_get_does(path: str, client: Any) -> None:
    """With the headers of the answer to GET."""
    head, get = await client.head(path), await client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


async def test_health(client: Any) -> None:
    """The contract's two members."""
    assert await (await client.get("/health")).get_json() == {
        "status": "ok",
        "uptime": 12.5,
        "last_full_check": "2026-11-20T12:00:00Z",
        "curation_lag": {"trajectories": 2, "texts": 1, "seconds": 0.5},
    }


async def test_ready_says_what_is_wrong(client: Any, gateway: Any) -> None:
    """200 when all is well, 503 with each check when not."""
    assert (await client.get("/ready")).status_code == 200
    gateway.ready = Readiness(ready=False, checks={"journal": "ok", "disk": "full"})
    answer = await client.get("/ready")
    body = await answer.get_json()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert body["checks"] == {"journal": "ok", "disk": "full"}
    assert body["error"]


async def test_a_failure_is_500_without_detail_and_one_traceback(
    client: Any, gateway: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator sees what happened, the client does not."""
    gateway.opening = ValueError("secret detail")
    answer = await client.post("/v1/sessions/open", json=OPENING)
    assert answer.status_code == 500
    assert await answer.get_json() == {"error": "The server failed to handle this request."}
    [record] = [record for record in caplog.records if record.name == "central_command.http"]
    assert record.getMessage() == "POST /v1/sessions/open failed."
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "secret detail"


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (ExceptionGroup("g", [NotFound()]), 404),
        (ExceptionGroup("g", [ExceptionGroup("g", [NotFound()])]), 404),
        (ExceptionGroup("g", [ValueError()]), 500),
        (ExceptionGroup("g", [NotFound(), ValueError("lost")]), 500),
    ],
)
async def test_a_group_of_exceptions_counts_as_what_is_in_it(
    failure: ExceptionGroup[Any], status: int, client: Any, gateway: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One is handled as itself; several are a failure, and none is lost to the operator."""
    gateway.opening = failure
    answer = await client.post("/v1/sessions/open", json=OPENING)
    assert answer.status_code == status
    assert len([record for record in caplog.records if record.exc_info]) == (1 if status == 500 else 0)


async def test_the_request_log_has_the_contract_s_form(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    """One line a request, without its query string."""
    caplog.set_level(logging.INFO, "central_command.access")
    await client.get("/v1/stats/daily?days=3&secret=1")
    await client.get("/nowhere")
    first, second = access_lines(caplog)
    assert re.fullmatch(r"\[2026-11-20T\d\d:\d\d:17\.123Z\] GET /v1/stats/daily 200 \d+ms", first)
    assert re.fullmatch(r"\[2026-11-20T\d\d:\d\d:17\.123Z\] GET /nowhere 404 \d+ms", second)


def test_no_path_can_forge_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks, control characters, spaces and lone surrogates are escaped, and long paths are cut."""
    caplog.set_level(logging.INFO, "central_command.access")
    RequestLog(lambda: 0.0).write("GET\n", "/a\r\n[x] GET /b 200 1ms\x1b[0m\u2028\ud800", 404, 0.0015)
    [line] = access_lines(caplog)
    assert (
        line == "[1970-01-01T00:00:00.000Z] GET%0A /a%0D%0A%5Bx%5D%20GET%20/b%20200%201ms%1B%5B0m%E2%80%A8%3F 404 2ms"
    )
    assert len(printable("/" + "é" * 10_000)) == 203


@pytest.mark.parametrize(
    ("path", "shown"), [("/abcd", "/abcd"), ("/abcde", "/abcd..."), ("/ab\n", "/ab%0..."), ("/abcd\n", "/abcd...")]
)
def test_a_path_that_is_not_shown_as_a_whole_says_so(path: str, shown: str) -> None:
    """Whether it was too long from the beginning, or only when it was escaped."""
    assert printable(path, chars_max=5) == shown


async def test_one_request_too_many_at_once_is_503_but_probes_are_answered(
    make_app: Any, gateway: Any, nursery: trio.Nursery
) -> None:
    """The bound on requests in flight, given back when they end."""
    client = make_app(requests_in_flight_max=1).test_client()
    gateway.blocked = trio.Event()
    body = {"session_id": "s"}

    async def close() -> None:
        assert (await client.post("/v1/sessions/close", json=body)).status_code == 200

    nursery.start_soon(close)
    await gateway.entered.wait()
    refused = await client.post("/v1/training/ingest", json=body)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "5"
    assert (await refused.get_json())["code"] == "overloaded"
    assert (await client.get("/health")).status_code == 200
    assert (await client.get("/ready")).status_code == 200
    gateway.blocked.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (await client.post("/v1/sessions/close", json=body)).status_code == 200


async def test_a_body_that_does_not_arrive_is_408(make_app: Any, autojump_clock: Any, gateway: Any) -> None:
    """After the body's time-out, and the rest is not waited for longer than the settings say."""
    client = make_app(body_timeout_s=3, linger_s=2).test_client()
    began_at = trio.current_time()
    async with client.request("/v1/training/ingest", method="POST") as connection:
        await connection.send(b'{"session')
    answer = await connection.as_response()
    assert answer.status_code == 408
    assert (await answer.get_json())["code"] == "body_timeout"
    assert trio.current_time() - began_at == pytest.approx(5)
    assert gateway.asked == []


def test_a_trusted_proxy_that_is_no_network_is_refused_at_the_start(make_app: Any) -> None:
    """In one sentence that names the setting."""
    with pytest.raises(HttpSettingsError, match=r"^http\.trusted_proxies holds '999\.1\.1\.1', which is no network"):
        make_app(trusted_proxies=("999.1.1.1",))
