"""What a session is as text, and as a document: a step whole, some steps to copy, and ATIF."""

from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus

import msgspec
from quart import Blueprint, Response

from central_command.access.tokens import Scope
from central_command.exporting.formats import atif
from central_command.exporting.reasons import LeftOut
from central_command.exporting.shape import Shape
from central_command.http.requests.bodies import ProblemError
from central_command.http.requests.replies import TEXT_TYPE, HttpProblem
from central_command.viewing import copying
from central_command.viewing.desk import UnableError
from central_command.viewing.records import Missing, MissingError, OpenRecord
from central_command.web.looking import Subject, desk_of, looked
from central_command.web.pages.viewer import DIGITS_MAX, number_asked
from central_command.web.site import Site


def session_text_pages(site: Site) -> Blueprint:
    """The texts that the viewer leads to."""
    routes = Blueprint("pages_session_texts", __name__)

    @routes.get(f"/sessions/<session_id>/steps/<int(max={10**DIGITS_MAX - 1}):number>.txt")
    async def text(session_id: str, number: int) -> Response:
        await site.admit(Scope.READ)
        content: AsyncIterator[bytes] | bytes | None
        try:
            found = await desk_of(site).texts(session_id, number)
            content = None if found is None else found.pieces()
        except (MissingError, UnableError):
            content = await looked(site, session_id, partial(_text_of, number=number))
        if content is None:
            raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", "The session has no such step."))
        return Response(content, content_type=TEXT_TYPE)

    @routes.get("/sessions/<session_id>/text")
    async def copy(session_id: str) -> Response:
        await site.admit(Scope.READ)
        first, last = number_asked("first") or 1, number_asked("last") or 10**DIGITS_MAX
        return Response(
            await looked(site, session_id, partial(_copied, first=first, last=last)), content_type=TEXT_TYPE
        )

    @routes.get("/sessions/<session_id>/atif.json")
    async def download(session_id: str) -> Response:
        await site.admit(Scope.READ)
        document = await looked(site, session_id, _document)
        headers = {"Content-Disposition": f'attachment; filename="{_file_name(session_id)}.atif.json"'}
        return Response(document, headers=headers, content_type="application/json")

    return routes


def _text_of(subject: Subject, *, number: int) -> bytes | None:
    """All that a step of an open session says: no more than an envelope holds."""
    place = subject.steps.place(number)
    return None if place is None else "".join(subject.steps.texts(place)).encode(errors="replace")


def _copied(subject: Subject, *, first: int, last: int) -> str:
    head = copying.heading(subject.head().trajectory)
    return head + copying.copied(subject.steps, first, last, subject.settings.copy_chars_max)


def _document(subject: Subject) -> bytes:
    if subject.records is None or not isinstance(subject.steps, OpenRecord):
        raise MissingError(Missing.NOT_THERE)
    try:
        (document,) = atif.rows(subject.records.trajectory(subject.steps), Shape())
    except LeftOut:
        raise MissingError(Missing.UNREADABLE) from None
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _file_name(session_id: str) -> str:
    """A session's id as part of a file's name."""
    return "".join(each if each.isascii() and (each.isalnum() or each in "-_") else "_" for each in session_id)[:100]
