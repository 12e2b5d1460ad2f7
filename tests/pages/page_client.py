"""Pages rendered by the application in process, as a browser without a script sees them."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from actors.envelopes.settings import SchemaSettings
from central_command.access.making import Maker, NewLink
from central_command.access.settings import AccessSettings
from central_command.access.tokens import Scope
from central_command.http.app import Offered, create_app
from central_command.http.settings import HttpSettings
from central_command.settings.configuration import Settings
from central_command.web.all_pages import WebPages
from central_command.web.site import Sources
from tests.running_service import Running, running

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
VOID = {"meta", "link", "input", "br", "img", "hr", "use", "path", "circle", "rect", "wbr", "col", "source"}


class Answer:
    """What a request was answered with."""

    def __init__(self, status: int, headers: Any, content: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content = content

    @property
    def text(self) -> str:
        """The body, where it is text."""
        return self.content.decode()

    @property
    def said(self) -> str:
        """The text of the page's main part, blanks joined."""
        parser = _Text()
        parser.feed(self.text[self.text.index("<main") : self.text.index("</main>")])
        return " ".join(" ".join(parser.texts).split())


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class Nesting(HTMLParser):
    """Raises AssertionError for a tag that ends what another began, and for an id that stands twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self._ids: set[str] = set()
        self.feed(text)
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            assert name != "style", "no style stands in a page"
            assert not name.startswith("on"), "no script stands in a page"
            if name == "id":
                assert value not in self._ids, value
                self._ids.add(str(value))

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag, (tag, self.getpos())


class PageClient:
    """A browser without a script; it keeps the cookie of the session that it signed in with."""

    def __init__(self, run: Running, app: Any, settings: AccessSettings) -> None:
        self.run = run
        self.app = app
        self.cookie: str | None = None
        self._client: Any = app.test_client(use_cookies=False)
        self._maker = Maker(run.root / "access.db", settings, clock=run.clock, random_bytes=os.urandom)

    def link(self, *scopes: Scope) -> str:
        """The code of a link to sign in with."""
        made = self._maker.link(scopes)
        assert isinstance(made, NewLink)
        return made.code

    async def sign_in(self, *scopes: Scope) -> None:
        """Begin a session that may do this."""
        answer = await self.post("/sign-in", key=self.link(*scopes))
        assert answer.status == 303, answer.text
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]

    async def get(self, path: str, **headers: str | None) -> Answer:
        """Ask for a page; what is HTML is well formed."""
        return await self._send("GET", path, b"", headers)

    async def get_bytes(self, path: str, **headers: str | None) -> Answer:
        """Ask for what is no page."""
        return await self._send("GET", path, b"", {"Accept": "*/*", **headers})

    async def post(self, path: str, _headers: dict[str, str | None] | None = None, **fields: str | list[str]) -> Answer:
        """Send a form, as from a page of ours unless the headers say otherwise."""
        return await self._send("POST", path, urlencode(fields, doseq=True).encode(), _headers or {})

    async def _send(self, method: str, path: str, data: bytes, changes: dict[str, str | None]) -> Answer:
        headers = {"Accept": HTML, "Sec-Fetch-Site": "same-origin", "Cookie": self.cookie}
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        sent = {name: value for name, value in headers.items() if value is not None}
        body = {"data": data} if data else {}
        answer = await self._client.open(path, method=method, headers=sent, **body)
        content = await answer.get_data()
        if content.startswith(b"<!doctype html>"):
            Nesting(content.decode())
        return Answer(answer.status_code, answer.headers, content)


@asynccontextmanager
async def pages_on(
    root: Path,
    *scopes: Scope,
    settings: Settings | None = None,
    offering: Callable[[Running], Offered] = lambda _run: Offered(),
    **offered: Any,
) -> AsyncIterator[PageClient]:
    """A running service with its pages, and a browser that may do this.

    `offered`, and what `offering` makes, is what else the server has.
    """
    async with running(root, settings=settings) as run:
        found = Offered(access=run.service.access, search=run.service.desks.search())
        found |= Offered(**offered)
        found |= offering(run)
        found["pages"] = WebPages(
            Sources(gateway=run.service, offered=found, settings=lambda: run.service.settings, clock=run.clock)
        )
        http = HttpSettings(limits_enabled=False)
        app = create_app(run.service, http, schema=SchemaSettings(), clock=run.clock, **found)
        client = PageClient(run, app, run.service.settings.access)
        if scopes:
            await client.sign_in(*scopes)
        yield client
