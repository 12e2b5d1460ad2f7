"""`/sessions/<id>`: a session of the corpus, a window of its steps at a time, and what is made of it."""

import time
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.http.requests.bodies import ProblemError
from central_command.http.requests.replies import HttpProblem
from central_command.live_sessions.figures import SessionFigures
from central_command.markup.visible import visible
from central_command.viewing import finding, windows
from central_command.viewing.finding import QUERY_CHARS_MAX, Hits
from central_command.viewing.records import Head
from central_command.viewing.turns import turns_from
from central_command.viewing.windows import CONTEXT_STEPS, Segment, Window
from central_command.web.looking import Subject, desk_of, looked
from central_command.web.session_steps import KINDS, Row, legend_of, rows, session_path
from central_command.web.site import Site, is_fragment_wanted
from persistence.databases.database import DatabaseFailure
from persistence.databases.summaries import Summary

T = TypeVar("T")

TYPES_MAX: Final = 20
DIGITS_MAX: Final = 12
ADDRESS_CHARS_MAX: Final = 2_000
"""Characters of the link to a session that is put beside another."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of a session is asked for, by the address."""

    types: tuple[str, ...] = ()
    step: int = 0
    turn: int = 0
    first: int = 0
    until: int = 0
    query: str = ""
    after: int = 1


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A session and some of its steps; `absent` says what was asked for and is not there."""

    head: Head
    window: Window
    steps: list[Row]
    segments: list[Segment] = []
    hits: Hits | None = None
    is_live: bool = False
    absent: str = ""
    summaries: dict[str, Summary] = {}
    """Of the session and of those that it is joined with, by their ids."""

    @property
    def summary(self) -> Summary | None:
        """The session's own."""
        return self.summaries.get(self.head.session.session_id)


def viewer_pages(site: Site) -> Blueprint:
    """The page, its pieces, and the texts that it leads to."""
    routes = Blueprint("pages_viewer", __name__)

    @routes.get("/sessions/<session_id>")
    async def session(session_id: str) -> Response:
        await site.admit(Scope.READ)
        asked = _asked()
        view = await looked(site, session_id, partial(view_of, asked=asked))
        beside_id = _id_of(request.args.get("beside", "").strip())
        beside, wrong, status = None, "", HTTPStatus.OK
        if beside_id:
            beside_asked = _asked("beside_")
            try:
                beside = await looked(site, beside_id, partial(view_of, asked=beside_asked))
            except ProblemError as error:
                # The session itself is there and is shown, with what is wrong at the field for the other one.
                wrong, status = error.problem.sentence, HTTPStatus(error.problem.status)
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
        return site.page(
            "session.html",
            title=_title(view),
            status=status,
            view=view,
            beside=beside,
            beside_id=beside_id,
            beside_wrong=wrong,
            id_chars_max=ADDRESS_CHARS_MAX,
            turns_max=desk_of(site).settings.turns_max,
            asked=asked,
            path_of=session_path,
            kinds=sorted(view.head.counts),
            known_kinds=KINDS,
            legend=legend_of(view.head.counts),
        )

    @routes.get("/sessions/<session_id>/steps")
    async def steps(session_id: str) -> Response:
        await site.admit(Scope.READ)
        asked = _asked()
        view = await looked(site, session_id, partial(view_of, asked=asked, is_whole=False))
        return site.fragment(
            "session_steps.html", view=view, asked=asked, path_of=session_path, session_id=session_id, is_beside=False
        )

    @routes.get("/sessions/<session_id>/find")
    async def find(session_id: str) -> Response:
        await site.admit(Scope.READ)
        asked = _asked()
        hits = await looked(site, session_id, partial(_found, asked=asked))
        return site.fragment("session_hits.html", hits=hits, asked=asked, base=session_path(session_id))

    @routes.get("/sessions/<session_id>/figures")
    async def figures(session_id: str) -> Response:
        await site.admit(Scope.READ)
        live = site.sources.offered.get("live")
        try:
            found = None if live is None else await live.figures.figures(session_id)
        except DatabaseFailure:
            found = None
        tokens = found.metrics.tokens if isinstance(found, SessionFigures) else None
        return site.fragment("session_figures.html", tokens=tokens)

    _add_turns(routes, site)
    return routes


def _add_turns(routes: Blueprint, site: Site) -> None:
    @routes.get("/sessions/<session_id>/turns")
    async def turns(session_id: str) -> Response:
        await site.admit(Scope.READ)
        first = number_asked("from") or 1
        found = await looked(site, session_id, lambda subject: turns_from(subject.steps, first, subject.settings))
        values: dict[str, Any] = {"turns": found, "path_of": session_path, "session_id": session_id}
        if is_fragment_wanted():
            return site.fragment("session_turns.html", **values)
        return site.page("turns.html", title=f"Turns of {visible(session_id)}", **values)


def view_of(subject: Subject, *, asked: Asked, is_whole: bool = True) -> View:
    """What is shown of a session; not `is_whole` where its steps are all that is wanted."""
    head = subject.head()
    absent = _absent(head, subject.total, asked)
    if absent:
        asked = msgspec.structs.replace(asked, turn=0, step=subject.total, first=0, until=0)
    window = _window(subject, asked)
    found = None
    if is_whole and asked.query:
        found = _found(subject, asked=asked)
    return View(
        head=head,
        window=window,
        steps=list(rows(window, head.trajectory.time_shift_s)),
        segments=windows.timeline(subject.steps) if is_whole else [],
        hits=found,
        is_live=subject.records is None,
        summaries=subject.summaries(head) if is_whole else {},
        absent=absent,
    )


def _id_of(text: str) -> str:
    """The id of a session, of an id or of a link to its page."""
    try:
        path = urlsplit(text).path
    except ValueError:
        return text
    _, is_link, rest = path.partition(session_path(""))
    return unquote(rest.partition("/")[0]) if is_link else text


def _absent(head: Head, total: int, asked: Asked) -> str:
    """That a step or turn is asked for behind the last one; empty where it is there, or nothing is."""
    for name, number, count in (("turn", asked.turn, head.turns), ("step", max(asked.step, asked.first), total)):
        if number > count > 0:
            return f"There is no {name} {number:,}: the last one is {count:,}. Shown is the end of the session."
    return ""


def _window(subject: Subject, asked: Asked) -> Window:
    steps, total, settings = subject.steps, subject.total, subject.settings
    if asked.until:
        return windows.window_until(steps, asked.until, asked.types, total, settings)
    first = asked.first or 1
    if asked.turn:
        first = windows.turn_begins(steps, asked.turn) or 1
    elif asked.step:
        first = max(1, min(asked.step, total) - CONTEXT_STEPS)
    return windows.window_from(steps, first, asked.types, total, settings)


def _found(subject: Subject, *, asked: Asked) -> Hits:
    if not asked.query:
        return Hits([])
    deadline = time.monotonic() + subject.settings.timeout_s
    return finding.find(subject.steps, asked.query, asked.after, subject.settings.hits_max, deadline)


def _asked(prefix: str = "") -> Asked:
    types = tuple(each for each in request.args.getlist(f"{prefix}type") if each)[:TYPES_MAX]
    query = "" if prefix else request.args.get("q", "").strip()
    if len(query) > QUERY_CHARS_MAX:
        sentence = f"What is looked for is longer than {QUERY_CHARS_MAX} characters."
        raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "bad_query", sentence))
    return Asked(
        types=types,
        step=number_asked(f"{prefix}step"),
        turn=number_asked(f"{prefix}turn"),
        first=number_asked(f"{prefix}from"),
        until=number_asked(f"{prefix}until"),
        query=query,
        after=number_asked("after") or 1,
    )


def number_asked(name: str) -> int:
    """A number of the address; 0 without one. Raises ProblemError for what is none."""
    text = request.args.get(name, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > DIGITS_MAX:
        sentence = f"{name} must be the number of a step or turn, from 1."
        raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "bad_query", sentence))
    return int(text)


def _title(view: View) -> str:
    return f"Session {view.head.session.session_id}" if view.summary is None else visible(view.summary.title)
