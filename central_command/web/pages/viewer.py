"""`/sessions/<id>`: a session of the corpus, a window of its steps at a time, and what is made of it."""

import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar

import msgspec
from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.exporting.formats import atif
from central_command.exporting.reasons import LeftOut
from central_command.exporting.shape import Shape
from central_command.http.requests.bodies import ProblemError
from central_command.http.requests.replies import HttpProblem
from central_command.viewing import copying, finding, windows
from central_command.viewing.desk import UnableError, ViewerDesk
from central_command.viewing.finding import QUERY_CHARS_MAX, Hits
from central_command.viewing.records import Head, Missing, MissingError, OpenRecord, Records
from central_command.viewing.windows import CONTEXT_STEPS, Segment, Window
from central_command.web.session_steps import KINDS, Row, rows, session_path
from central_command.web.site import Site

T = TypeVar("T")

TEXT_TYPE: Final = "text/plain; charset=utf-8"
TYPES_MAX: Final = 20
DIGITS_MAX: Final = 12

_SENTENCES: Final = {
    Missing.NOT_THERE: "The corpus holds no such session: it is not curated yet, was left out, or was erased.",
    Missing.UNREADABLE: "The record of this session is damaged: central-command verify says where.",
    Missing.TOO_LARGE: "This session is too large for that at once; an export has no such bound.",
}


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
    """A session and some of its steps."""

    head: Head
    window: Window
    steps: list[Row]
    segments: list[Segment] = []
    hits: Hits | None = None


def viewer_pages(site: Site) -> Blueprint:
    """The page, its pieces, and the texts that it leads to."""
    routes = Blueprint("pages_viewer", __name__)

    @routes.get("/sessions/<session_id>")
    async def session(session_id: str) -> Response:
        await site.admit(Scope.READ)
        desk, asked = _desk(site), _asked()
        view = await _looked(desk, session_id, partial(_view, asked=asked))
        beside_id = request.args.get("beside", "")
        beside = None
        if beside_id:
            beside = await _looked(desk, beside_id, partial(_view, asked=_asked("beside_")))
        return site.page(
            "session.html",
            title=_title(view.head),
            view=view,
            beside=beside,
            asked=asked,
            path_of=session_path,
            kinds=sorted(view.head.counts),
            known_kinds=KINDS,
        )

    @routes.get("/sessions/<session_id>/steps")
    async def steps(session_id: str) -> Response:
        await site.admit(Scope.READ)
        asked = _asked()
        view = await _looked(_desk(site), session_id, partial(_view, asked=asked, is_whole=False))
        return site.fragment(
            "session_steps.html", view=view, asked=asked, path_of=session_path, session_id=session_id, is_beside=False
        )

    @routes.get("/sessions/<session_id>/find")
    async def find(session_id: str) -> Response:
        await site.admit(Scope.READ)
        asked = _asked()
        hits = await _looked(_desk(site), session_id, partial(_found, asked=asked))
        return site.fragment("session_hits.html", hits=hits, asked=asked, base=session_path(session_id))

    @routes.get("/sessions/<session_id>/steps/<int:number>.txt")
    async def text(session_id: str, number: int) -> Response:
        await site.admit(Scope.READ)
        try:
            found = await _desk(site).texts(session_id, number)
        except (MissingError, UnableError) as error:
            raise ProblemError(_problem(error)) from None
        if found is None:
            raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", "The session has no such step."))
        return Response(found.pieces(), content_type=TEXT_TYPE)

    @routes.get("/sessions/<session_id>/text")
    async def copy(session_id: str) -> Response:
        await site.admit(Scope.READ)
        first, last = _number("first") or 1, _number("last") or 10**DIGITS_MAX
        return Response(
            await _looked(_desk(site), session_id, partial(_copied, first=first, last=last)), content_type=TEXT_TYPE
        )

    @routes.get("/sessions/<session_id>/atif.json")
    async def download(session_id: str) -> Response:
        await site.admit(Scope.READ)
        document = await _looked(_desk(site), session_id, _document)
        headers = {"Content-Disposition": f'attachment; filename="{_file_name(session_id)}.atif.json"'}
        return Response(document, headers=headers, content_type="application/json")

    return routes


def _desk(site: Site) -> ViewerDesk:
    desk = site.sources.offered.get("viewer")
    if desk is None:
        raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", "There is no such endpoint."))
    return desk


async def _looked(desk: ViewerDesk, session_id: str, work: Callable[[Records, OpenRecord], T]) -> T:
    """What a function finds in a session, in a thread; raises ProblemError."""

    def look(records: Records) -> T:
        with records.opened(session_id) as record:
            return work(records, record)

    try:
        return await desk.look(look)
    except (MissingError, UnableError) as error:
        raise ProblemError(_problem(error)) from None


def _view(records: Records, record: OpenRecord, *, asked: Asked, is_whole: bool = True) -> View:
    head = records.head(record)
    window = _window(record, asked, records)
    found = None
    if is_whole and asked.query:
        found = _found(records, record, asked=asked)
    return View(
        head=head,
        window=window,
        steps=list(rows(window, head.trajectory.time_shift_s)),
        segments=windows.timeline(record) if is_whole else [],
        hits=found,
    )


def _window(record: OpenRecord, asked: Asked, records: Records) -> Window:
    total = record.session.step_count
    if asked.until:
        return windows.window_until(record, asked.until, asked.types, total, records.settings)
    first = asked.first or 1
    if asked.turn:
        first = windows.turn_begins(record, asked.turn) or 1
    elif asked.step:
        first = max(1, min(asked.step, total) - CONTEXT_STEPS)
    return windows.window_from(record, first, asked.types, total, records.settings)


def _found(records: Records, record: OpenRecord, *, asked: Asked) -> Hits:
    if not asked.query:
        return Hits([])
    deadline = time.monotonic() + records.settings.timeout_s
    return finding.find(record, asked.query, asked.after, records.settings.hits_max, deadline)


def _copied(records: Records, record: OpenRecord, *, first: int, last: int) -> str:
    head = copying.heading(records.head(record).trajectory)
    return head + copying.copied(record, first, last, records.settings.copy_chars_max)


def _document(records: Records, record: OpenRecord) -> bytes:
    try:
        (document,) = atif.rows(records.trajectory(record), Shape())
    except LeftOut:
        raise MissingError(Missing.UNREADABLE) from None
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _asked(prefix: str = "") -> Asked:
    types = tuple(each for each in request.args.getlist(f"{prefix}type") if each)[:TYPES_MAX]
    query = "" if prefix else request.args.get("q", "").strip()
    if len(query) > QUERY_CHARS_MAX:
        sentence = f"What is looked for is longer than {QUERY_CHARS_MAX} characters."
        raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "bad_query", sentence))
    return Asked(
        types=types,
        step=_number(f"{prefix}step"),
        turn=_number(f"{prefix}turn"),
        first=_number(f"{prefix}from"),
        until=_number(f"{prefix}until"),
        query=query,
        after=_number("after") or 1,
    )


def _number(name: str) -> int:
    """A number of the address; 0 without one. Raises ProblemError for what is none."""
    text = request.args.get(name, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > DIGITS_MAX:
        sentence = f"{name} must be the number of a step or turn, from 1."
        raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "bad_query", sentence))
    return int(text)


def _problem(error: MissingError | UnableError) -> HttpProblem:
    if isinstance(error, MissingError):
        is_gone = error.reason is Missing.NOT_THERE
        status = HTTPStatus.NOT_FOUND if is_gone else HTTPStatus.UNPROCESSABLE_ENTITY
        return HttpProblem(status, f"session_{error.reason}", _SENTENCES[error.reason])
    return HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, error.code, error.sentence, retry_after_s=1)


def _title(head: Head) -> str:
    return f"Session {head.session.session_id}"


def _file_name(session_id: str) -> str:
    """A session's id as part of a file's name."""
    return "".join(each if each.isascii() and (each.isalnum() or each in "-_") else "_" for each in session_id)[:100]
