"""What every page is made with: who may see it, its frame, its forms, and where to find what it shows."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from string import Template
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from markupsafe import Markup, escape
from quart import Response, request

from central_command.access.tokens import Scope
from central_command.http.app import Offered
from central_command.http.endpoints.access import Access
from central_command.http.gateway import Gateway
from central_command.http.requests.authorization import Authorization, Door, known_scopes
from central_command.http.requests.bodies import ProblemError, Reader, number_argument
from central_command.http.requests.browsers import SIGN_IN_PATH
from central_command.http.requests.refusal_pages import accepts_page, is_page_path
from central_command.http.requests.replies import HTML_TYPE, TEXT_TYPE, HttpProblem, Replies
from central_command.http.settings import HttpSettings
from central_command.settings.configuration import Settings
from central_command.web.rendering import Renderer
from persistence.format import times

T = TypeVar("T")

FORM_BYTES_MAX: Final = 65_536
FORM_FIELDS_MAX: Final = 100
CURSOR_MAX: Final = 999_999_999
THEME_COOKIE: Final = "theme"
THEMES: Final = ("system", "light", "dark")

SAID_ONCE: Final = frozenset({"done", "tried"})
"""Arguments that say what has just been done: no way leads from there to the same again."""


class NavigationItem(msgspec.Struct, frozen=True):
    """A page that each page leads to; `icon` is its name in the sprite, and one of the `scopes` lets in.

    `key` leads to it behind `g`; "" where another key does.
    """

    path: str
    title: str
    icon: str
    scopes: tuple[Scope, ...]
    key: str


NAVIGATION: Final = (
    (
        NavigationItem("/", "Overview", "overview", (Scope.READ, Scope.ADMIN), "o"),
        NavigationItem("/sessions", "Sessions", "sessions", (Scope.READ,), "s"),
        NavigationItem("/search", "Search", "search", (Scope.READ,), ""),
    ),
    (
        NavigationItem("/tools", "Tools", "tools", (Scope.READ,), "t"),
        NavigationItem("/contributors", "Contributors", "contributors", (Scope.READ,), "p"),
        NavigationItem("/corpus", "Corpus", "corpus", (Scope.READ,), "c"),
        NavigationItem("/exports", "Exports", "exports", (Scope.EXPORT,), "e"),
    ),
    (
        NavigationItem("/jobs", "Jobs", "jobs", (Scope.ADMIN,), "j"),
        NavigationItem("/observer", "Observer", "observer", (Scope.READ,), "b"),
        NavigationItem("/refused", "Dead letters", "refused", (Scope.ADMIN,), "d"),
        NavigationItem("/access", "Access", "access", (Scope.ADMIN,), "a"),
        NavigationItem("/settings", "Settings", "settings", (Scope.ADMIN,), ","),
    ),
)


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where pages find what they show: `offered` is what the API's endpoints ask, too."""

    gateway: Gateway
    offered: Offered
    settings: Callable[[], Settings]
    """The settings that are in force."""
    clock: Callable[[], float]
    """Seconds since the epoch."""
    free_bytes: Callable[[], int] | None = None
    """What is free on the disk, as last asked."""


class Slice(msgspec.Struct, frozen=True):
    """Some of many rows, and where the next ones begin."""

    rows: Sequence[Any]
    cursor: str | None
    is_first: bool


class Site:
    """Made once for an application; the modules of the pages get it, and nothing else."""

    def __init__(
        self, sources: Sources, renderer: Renderer, http: HttpSettings, reader: Reader, replies: Replies
    ) -> None:
        self.sources = sources
        self.reader = reader
        self.replies = replies
        self._renderer = renderer
        self._door: Door[Access] = Door(
            sources.offered.get("access"),
            lambda known: (known.gate, known.gate.settings),
            *Scope,
            http=http,
            replies=replies,
        )

    def __repr__(self) -> str:
        return f"<Site behind {self._door!r}>"

    async def admit(self, scope: Scope, *others: Scope) -> str:
        """Who asks for the current page: the id of their session or token, for the audit journal.

        Raises ProblemError for who may not, and for a change that does not come from a page of ours.
        """
        _, admitted = await self._door.admit(scope, *others)
        return admitted.token_id

    def access(self) -> tuple[Access, Authorization]:
        """What tokens, sessions and bans are changed with, and who says who may."""
        return self._door.found()

    async def may(self, scope: Scope) -> bool:
        """Whether who asks for the current page, and was admitted, may do that, too."""
        try:
            await self._door.admit(scope)
        except ProblemError as error:
            if error.problem.code != "insufficient_scope":
                raise
            return False
        return True

    def now(self) -> str:
        """The time as texts of ours have it, to compare with them."""
        return times.to_text(self.sources.clock())

    def page(self, template: str, *, title: str, status: int = HTTPStatus.OK, **values: Any) -> Response:
        """The current page, of a template that extends `base.html`; its values must have names of their own.

        `here(name=value, …)` in a template is the address of the page with other arguments; None takes one away.
        """
        html = self._renderer.html(template, {**frame(title), **values})
        headers = dict(self.replies.later) if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return Response(html, status, headers, content_type=HTML_TYPE)

    def fragment(self, template: str, **values: Any) -> Response:
        """A piece of a page, for htmx to put in."""
        return Response(self._renderer.html(template, {**frame(""), **values}), content_type=HTML_TYPE)

    def html(self, template: str, **values: Any) -> str:
        """A piece of a page that is sent when its request is answered already: it knows nothing of that."""
        return self._renderer.html(template, values)

    async def form(self) -> dict[str, list[str]]:
        """The fields of the form that was sent; raises ProblemError for what is none."""
        return await self.reader.form(bytes_max=FORM_BYTES_MAX, fields_max=FORM_FIELDS_MAX)

    def sent_to(self, path: str, **arguments: str) -> Response:
        """After a form: to a page of ours, so that loading it again sends nothing again."""
        location = f"{path}?{urlencode(arguments)}" if arguments else path
        return Response(b"", HTTPStatus.SEE_OTHER, {"Location": location}, content_type=HTML_TYPE)


def frame(title: str) -> dict[str, Any]:
    """What `base.html` needs, of the current request."""
    navigation = _reachable()
    return {
        "title": title,
        "theme": current_theme(),
        "navigation": navigation,
        "reachable": {item.path for group in navigation for item in group},
        "path": request.path,
        "origin": origin(),
        "here": here,
        "is_fragment": is_fragment_wanted(),
        "address": here(said=None),
    }


def _reachable() -> list[list[NavigationItem]]:
    """The pages that who asks may see, in their groups; all where nobody has looked who asks."""
    scopes = known_scopes()
    groups = ([item for item in group if scopes is None or not scopes.isdisjoint(item.scopes)] for group in NAVIGATION)
    return [group for group in groups if group]


def part(offered: T | None, sentence: str = "There is no such endpoint.") -> T:
    """What pages are about, of a server that has it; raises ProblemError, a 404, for one that has not."""
    if offered is None:
        raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", sentence))
    return offered


def here(**changes: object) -> str:
    """The address of the current page with other arguments: those that are None, or "", are taken away."""
    known = changes.keys() | SAID_ONCE
    arguments = [(name, value) for name, value in request.args.items(multi=True) if name not in known]
    arguments += [(name, str(value)) for name, value in changes.items() if value is not None and value != ""]
    path = quote(request.path)
    return f"{path}?{urlencode(arguments)}" if arguments else path


def sliced(rows: Sequence[Any], size: int) -> Slice:
    """Of rows that are in memory, those of the current page: its `cursor` is how many stand before it."""
    begin = number_argument("cursor", default=0, maximum=CURSOR_MAX)
    end = begin + size
    return Slice(rows[begin:end], str(end) if end < len(rows) else None, begin == 0)


def said(sentences: Mapping[str, str]) -> str:
    """The sentence that the address names: what a form has just done (`Site.sent_to`); nothing where it names none."""
    return sentences.get(request.args.get("said", ""), "")


def origin() -> str:
    """How the browser names this server: for commands that name it, too."""
    return next(reversed(Reader.front().origins), "http://localhost:8443")


def current_theme() -> str:
    """What the reader has chosen; `system` where nothing."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else THEMES[0]


def is_fragment_wanted() -> bool:
    """Whether htmx asks, for a piece of a page, and no history of it is restored."""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


class Problems:
    """What is wrong with a request, said as a page."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        values = {name: f"${name}" for name in ("title", "status", "sentence", "hint")}
        self._refusal = Template(renderer.html("refusal.html", {**values, "theme": THEMES[0]}))

    def __repr__(self) -> str:
        return f"<Problems by {self._renderer!r}>"

    def refusal(self, found: HttpProblem) -> str:
        """A page that is made without the framework, which has not seen the request: of one that is rendered once."""
        title, sentence = _told(found)
        hint = "" if found.retry_after_s is None else _retry_hint(found.retry_after_s)
        values = {"title": title, "status": str(found.status), "sentence": sentence, "hint": hint}
        return self._refusal.substitute({name: escape(value) for name, value in values.items()})

    def response(self, found: HttpProblem) -> Response | None:
        """A page, or a sentence for htmx; None where it is no page that is asked for, or the answer leads elsewhere."""
        if found.status < HTTPStatus.BAD_REQUEST or not is_page_path(request.path):
            return None
        headers = dict(found.all_headers)
        if "HX-Request" in request.headers:
            if found.status == HTTPStatus.UNAUTHORIZED:
                headers["HX-Redirect"] = f"{SIGN_IN_PATH}?next={quote(_shown_path(), safe='')}"
            return Response(found.sentence, found.status, headers, content_type=TEXT_TYPE)
        if not accepts_page(request.headers.get("Accept", "")):
            return None
        title, sentence = _told(found)
        hint = "" if found.retry_after_s is None else _retry_hint(found.retry_after_s)
        values = {**frame(title), "problem": found, "sentence": sentence, "hint": hint, "next_path": _shown_path()}
        return Response(self._renderer.html("problem.html", values), found.status, headers, content_type=HTML_TYPE)

    def framed(self, title: str, content: str) -> str:
        """A page around `content`, HTML that was made here; it leads to others who has signed in."""
        values = {**frame(title), "content": Markup(content)}  # noqa: S704 (made of fixed text and escaped values)
        return self._renderer.html("framed.html" if known_scopes() is None else "account.html", values)


def _retry_hint(retry_after_s: int) -> str:
    return f"Try again in {retry_after_s} s."


def _shown_path() -> str:
    """The page that the reader sees, or has asked for: a path of ours."""
    if "HX-Current-URL" not in request.headers:
        return here() if request.method in {"GET", "HEAD"} else "/"
    try:
        shown = urlsplit(request.headers["HX-Current-URL"])
    except ValueError:
        return "/"
    return f"{shown.path}?{shown.query}" if shown.query else shown.path


def _told(found: HttpProblem) -> tuple[str, str]:
    """What a page says: what a browser's user can do something with, where the sentence is for programs."""
    match found.code:
        case "unauthorized":
            return "Sign in", "Your session has ended, or you have not signed in yet. Nothing was changed."
        case "insufficient_scope":
            return "Not allowed", found.sentence.replace("The token has", "You have").replace("endpoint", "page")
        case "not_found":
            sentence = found.sentence.replace("There is no such endpoint.", "There is no such page.")
            return "Not found", sentence
        case "method_not_allowed":
            return "Not possible", "This page cannot be asked for so."
        case _ if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR or found.status == HTTPStatus.TOO_MANY_REQUESTS:
            return "Not now", found.sentence
        case _:
            return "Not possible", found.sentence
