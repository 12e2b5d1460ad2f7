"""All pages put together: what an application is given as its `pages`."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from quart import Blueprint, Response

from central_command.http.requests.bodies import Reader
from central_command.http.requests.replies import HttpProblem, Replies
from central_command.http.settings import HttpSettings
from central_command.web.bundle import Bundle
from central_command.web.pages.access import access_pages
from central_command.web.pages.corpus import corpus_pages
from central_command.web.pages.exports import export_pages
from central_command.web.pages.form_paths import form_path_pages
from central_command.web.pages.jobs import job_pages
from central_command.web.pages.live_session import live_session_pages
from central_command.web.pages.observer import observer_pages
from central_command.web.pages.overview import overview_pages
from central_command.web.pages.refused import refused_pages
from central_command.web.pages.search import search_pages
from central_command.web.pages.session_texts import session_text_pages
from central_command.web.pages.sessions import sessions_pages
from central_command.web.pages.settings import settings_pages
from central_command.web.pages.theme import theme_pages
from central_command.web.pages.viewer import viewer_pages
from central_command.web.rendering import Renderer
from central_command.web.site import Problems, Site, Sources

PAGES: Final[tuple[Callable[[Site], Blueprint], ...]] = (
    overview_pages,
    search_pages,
    access_pages,
    settings_pages,
    theme_pages,
    sessions_pages,
    viewer_pages,
    job_pages,
    export_pages,
    observer_pages,
    refused_pages,
    corpus_pages,
    session_text_pages,
    live_session_pages,
    form_path_pages,
)
"""A page gets in by standing here; who may see it, it asks for itself (`Site.admit`)."""


class WebPages:
    """The pages of a server; reads their templates and assets once."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._bundle, self._renderer = _read()
        self._problems = Problems(self._renderer)

    def __repr__(self) -> str:
        return f"<WebPages {self._bundle!r}>"

    def routes(self, http: HttpSettings, reader: Reader, replies: Replies) -> Sequence[Blueprint]:
        """All pages, and what they load."""
        site = Site(self._sources, self._renderer, http, reader, replies)
        return [self._bundle.routes(), *(pages(site) for pages in PAGES)]

    def framed(self, title: str, content: str) -> str:
        """A page around `content`, which is HTML."""
        return self._problems.framed(title, content)

    def refusal(self, found: HttpProblem) -> str:
        """What is wrong with a request of which nothing more is known, as a page."""
        return self._problems.refusal(found)

    def problem(self, found: HttpProblem) -> Response | None:
        """What is wrong with the current request as a page; None where no browser asks for one."""
        return self._problems.response(found)


@cache
def _read() -> tuple[Bundle, Renderer]:
    """What the package holds, which is the same for as long as the process lives."""
    bundle = Bundle()
    return bundle, Renderer(bundle)
