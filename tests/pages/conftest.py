"""A server with something in it and a browser, once for all tests that need a real one."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.actors.curation.trajectory_lines import prompt, thought
from tests.corpus_maker import session
from tests.indexed import put
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess, request
from tests.signing_client import SigningClient
from tests.submitted_texts import leave_token

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LAUNCH_MS_MAX = 60_000
ACTION_MS_MAX = 30_000
WAIT_S = 30.0
AXE = Path(__file__).parent / "axe.min.js"
PAINTED = """() => new Promise((painted) => {
    const again = () => performance.getEntriesByType("paint").length
        ? requestAnimationFrame(() => requestAnimationFrame(painted))
        : requestAnimationFrame(again);
    again();
})"""


class Served:
    """A served data directory, and a browser's session that may do everything."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        token, _ = leave_token(server.data_directory, "admin", "read", "export", now=time.time())
        self.token = token
        self.cookie = self._sign_in(token)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.server.url

    def _sign_in(self, key: str) -> str:
        connection = self.server.connect()
        connection.request("POST", "/sign-in", urlencode({"key": key}), {"Sec-Fetch-Site": "same-origin"})
        answer = connection.getresponse()
        answer.read()
        cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]
        connection.close()
        return cookie.partition("=")[2]

    def fill(self, sessions: int) -> None:
        """Let some sessions come in, the last of which stays open."""
        connection = self.server.connect()
        for n in range(sessions):
            client = SigningClient(f"sess_page_{n}")
            opened = request(connection, "POST", OPEN, json.dumps(client.opening()).encode())
            client.opened(opened.members["server_public_key"])
            assert request(connection, "POST", INGEST, client.chunk(3 + n % 4)).members["accepted"]
            if n < sessions - 1:
                request(connection, "POST", INGEST, client.close())
                request(connection, "POST", CLOSE, json.dumps({"session_id": client.session_id}).encode())
        connection.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server, once for all tests of a process."""
    root = tmp_path_factory.mktemp("pages") / "data"
    put(root, *(session(number, [prompt(f"look for needle {number}"), thought("think")] * 2) for number in range(2)))
    with ServerProcess(root) as server:
        found = Served(server)
        found.fill(6)
        yield found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, once for all tests of a process."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (only where there is a browser)

    with _loops_of_asyncio():
        playwright = sync_playwright().start()
    try:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS], timeout=LAUNCH_MS_MAX)
        yield browser
        browser.close()
    finally:
        playwright.stop()


@contextmanager
def _loops_of_asyncio() -> Iterator[None]:
    """Meanwhile asyncio makes loops of its own kind: trio-asyncio, where it was imported, has it make trio's."""
    policy = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(policy)


class Tab:
    """A page in a browser that is signed in, and all that it asked for, or complained of."""

    def __init__(self, page: Any, url: str, *, scripts: bool) -> None:
        self.page = page
        self.url = url
        self.scripts = scripts
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda asked: self.asked.append(asked.url))
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: Any) -> None:
        # That a page is answered with 404 is what some tests ask for.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def open(self, path: str) -> Any:
        """Go to a page of the server, and wait until it has loaded and was painted.

        Before its first paint Chromium drops what is typed.
        """
        self.page.goto(self.url + path, wait_until="load")
        if self.scripts:
            self.page.evaluate(PAINTED)
        return self.page

    def check(self) -> None:
        """Nothing was asked for elsewhere, no policy was violated, no script failed."""
        assert [each for each in self.asked if not each.startswith(self.url)] == []
        assert self.complaints == []

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it is (WCAG 2.2 A and AA, and what is best practice)."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")  # the rest is large
        return [
            f"{each['id']}: {each['help']}: " + "; ".join(node["html"][:200] for node in each["nodes"][:3])
            for each in found["violations"]
        ]


def until(page: Any, condition: str) -> None:
    """Wait until something holds on the page; playwright's own way would need what the policy forbids."""
    end = time.monotonic() + WAIT_S
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


@pytest.fixture
def tabs(served: Served, chromium: Any) -> Iterator[Any]:
    """Opens tabs in contexts of their own: `tabs(theme="dark", width=390, signed_in=False, scripts=False)`."""
    with _contexts(served, chromium) as open_tab:
        yield open_tab


@contextmanager
def _contexts(served: Served, chromium: Any) -> Iterator[Any]:
    contexts = []

    def open_tab(
        theme: str = "light",
        *,
        width: int = 1280,
        signed_in: bool = True,
        scripts: bool = True,
        zone: str = "Asia/Tokyo",
    ) -> Tab:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            java_script_enabled=scripts,
            timezone_id=zone,
            locale="en-GB",
            bypass_csp=False,
        )
        contexts.append(context)
        context.set_default_timeout(ACTION_MS_MAX)
        if signed_in:
            context.add_cookies([{"name": "central_command", "value": served.cookie, "url": served.url}])
        return Tab(context.new_page(), served.url, scripts=scripts)

    try:
        yield open_tab
    finally:
        for each in contexts:
            each.close()
