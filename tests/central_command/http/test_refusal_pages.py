"""What is refused before a route is looked for: a page to a browser, JSON to everybody else, otherwise the same."""

import html
import json
from typing import Any

import pytest

from central_command.http.app import Offered
from central_command.http.requests.refusal_pages import RefusalPages, is_page_path
from central_command.http.requests.replies import CONTENT_POLICY, HttpProblem
from central_command.settings.configuration import Settings
from central_command.web.all_pages import WebPages
from central_command.web.site import Sources
from tests.central_command.http.conftest import NOON, Answer, RawClient
from tests.pages.page_client import HTML, Nesting

SAME = ("retry-after", "access-control-allow-origin", "cache-control", "content-security-policy", "allow", "connection")


def pages_of(gateway: Any) -> WebPages:
    return WebPages(Sources(gateway=gateway, offered=Offered(), settings=Settings, clock=lambda: NOON))


async def both(server: Any, ask: Any) -> tuple[Answer, Answer]:
    """What a program and a browser are told."""
    found = list[Answer]()
    for accept in ("*/*", HTML):
        client = await server.connect()
        await ask(client, f"Accept: {accept}\r\n")
        found.append(await client.answer())
    return found[0], found[1]


def check_same(program: Answer, page: Answer, status: int) -> str:
    """The page, which says what the JSON says."""
    sentence = json.loads(program.body)["error"]
    text = page.body.decode()
    Nesting(text)
    assert (program.status, page.status) == (status, status)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert sentence in html.unescape(text)
    assert f'<p class="muted">{status}</p>' in text
    assert "$" not in text
    return text


async def test_who_asks_too_often_sees_a_page_that_says_when_to_come_again(served: Any, gateway: Any) -> None:
    async with served(pages=pages_of(gateway), requests_per_minute=1) as server:
        first = await server.connect()
        await first.get("/v1/stats/summary")
        assert (await first.answer()).status == 200
        program, page = await both(server, lambda client, accept: client.get("/sessions", accept))
        text = check_same(program, page, 429)
        assert f"Try again in {page.headers['retry-after']} s." in text
        assert page.headers["content-security-policy"] == CONTENT_POLICY
        assert {each: page.headers.get(each) for each in SAME} == {each: program.headers.get(each) for each in SAME}
        for path in ("/api/search", "/v1/stats/summary", "/metrics"):
            client = await server.connect()
            await client.get(path, f"Accept: {HTML}\r\n")
            assert (await client.answer()).headers["content-type"] == "application/json", path


async def test_a_target_that_is_no_path_is_told_as_a_page(served: Any, gateway: Any) -> None:
    async with served(pages=pages_of(gateway)) as server:

        async def ask(client: RawClient, accept: str) -> None:
            await client.send(f"GET * HTTP/1.1\r\nHost: test\r\n{accept}\r\n".encode())

        check_same(*await both(server, ask), 400)


@pytest.mark.parametrize(
    ("broken", "status"),
    [("bad header\r\n", 400), (f"Cookie: {'x' * 70_000}\r\n", 431)],
)
async def test_a_head_that_cannot_be_read_is_told_as_a_page_to_a_browser(
    broken: str, status: int, served: Any, gateway: Any
) -> None:
    async with served(pages=pages_of(gateway)) as server:

        async def ask(client: RawClient, accept: str) -> None:
            await client.send(f"GET /sessions HTTP/1.1\r\nHost: test\r\n{accept}{broken}\r\n".encode())

        program, page = await both(server, ask)
        check_same(program, page, status)
        assert (page.headers["connection"], page.headers["cache-control"]) == ("close", "no-store")
        assert page.headers["content-security-policy"] == CONTENT_POLICY


async def test_a_form_whose_body_cannot_be_read_is_answered_with_a_page(served: Any, gateway: Any) -> None:
    async with served(pages=pages_of(gateway)) as server:

        async def ask(client: RawClient, accept: str) -> None:
            head = f"POST /theme HTTP/1.1\r\nHost: test\r\n{accept}Sec-Fetch-Site: same-origin\r\n"
            await client.send(f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode())

        check_same(*await both(server, ask), 400)


async def test_without_pages_everybody_is_told_in_json(served: Any) -> None:
    async with served(requests_per_minute=1) as server:
        for status in (404, 429):
            client = await server.connect()
            await client.get("/sessions", f"Accept: {HTML}\r\n")
            answer = await client.answer()
            assert (answer.status, answer.headers["content-type"]) == (status, "application/json")


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/sessions", {"accept": HTML}, "text/html; charset=utf-8"),
        ("/sessions", {"accept": "text/html, application/json"}, None),
        ("/sessions", {"accept": "*/*"}, None),
        ("/sessions", {}, None),
        ("/sessions", {"hx-request": "true", "accept": "*/*"}, "text/plain; charset=utf-8"),
        ("/api/jobs", {"hx-request": "true", "accept": HTML}, None),
        ("/v1/training/ingest", {"accept": HTML}, None),
    ],
)
def test_accept_and_the_path_say_who_is_told_how(path: str, headers: dict[str, str], kind: str | None) -> None:
    pages = RefusalPages(lambda found: found.sentence)
    found = HttpProblem(503, "overloaded", "Come <later>.", retry_after_s=2)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    reply = pages.reply(path, raw, found)
    assert (None if reply is None else reply.content_type) == kind
    if reply is not None:
        assert (reply.status, reply.code, reply.headers) == (503, "overloaded", (("Retry-After", "2"),))


def test_what_a_sentence_repeats_is_escaped(gateway: Any) -> None:
    text = pages_of(gateway).refusal(HttpProblem(400, "bad_request", "No $title & <b>."))
    assert "No $title &amp; &lt;b&gt;." in text
    Nesting(text)


@pytest.mark.parametrize("path", ["/api/jobs", "/v1/nothing", "/assets/x.css", "/metrics", "/openapi.json"])
def test_there_is_no_page_where_programs_ask(path: str) -> None:
    assert not is_page_path(path)
