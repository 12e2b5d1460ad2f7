"""`/api/exports`: exports that the server makes in a process of its own, and their files. With a token for it."""

import os
from collections.abc import AsyncIterator
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import trio
from quart import Blueprint, Response

from central_command.access.audit import Audit
from central_command.access.tokens import Scope
from central_command.corpus.desk import Begun, Unable
from central_command.corpus.paging import Asked, PageBounds
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.replies import HttpProblem, Replies, error, json_reply
from central_command.http.settings import HttpSettings
from persistence.files.regular import open_file
from persistence.format import json_text

EXPORTS_PATH: Final = "/api/exports"
EXPORT_PATH: Final = f"{EXPORTS_PATH}/<export_id>"
FILE_PATH: Final = f"{EXPORT_PATH}/files/<path:name>"

ASKED_BYTES_MAX: Final = 262_144
"""A request has at most so many bytes; guards whoever waits while it is read."""

READ_BYTES: Final = 262_144
"""Bytes of a file that are in memory while it is sent."""


class ExportState(StrEnum):
    """How far an export is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """An export as it stands: `folder` is its name below the folder of exports, `reason` why it failed.

    The counts are of one that is done: of `seen` records those that are kept, and those that are left out, by reason.
    """

    id: str
    state: ExportState
    asked_at: str
    folder: str
    formats: tuple[str, ...]
    rows: int | None = None
    bytes: int | None = None
    seen: int | None = None
    kept: int | None = None
    left_out: dict[str, int] | None = None
    reason: str | None = None


class ExportFile(msgspec.Struct, frozen=True):
    """A file that is handed out, and how large it is."""

    path: Path
    size_bytes: int


class NamedExportFile(msgspec.Struct, frozen=True):
    """A file of an export by its name, as the manifest has it, and how large it is."""

    name: str
    size_bytes: int


class RefusedExport(msgspec.Struct, frozen=True):
    """Nothing was begun: one sentence says why."""

    sentence: str


class NotTaken(StrEnum):
    """Nothing was changed: why not."""

    WAITING = "As many exports wait as may; ask again when one is done."
    KEPT = "There are as many exports as may be; delete one first."
    NO_ROOM = "The disk takes nothing now; nothing was changed."
    NO_FOLDER = "The server's folder for exports is not there; its operator has to mount its disk, or make it."


class ExportDesk(Protocol):
    """What is asked of the exports."""

    async def ask(self, members: dict[str, Any]) -> ExportReport | RefusedExport | NotTaken:
        """Take a request in; it is on disk when this returns."""
        ...

    def reports(self) -> list[ExportReport]:
        """All that there are, the earliest first."""
        ...

    def report(self, export_id: str) -> ExportReport | None:
        """One of them; None for one that there is not."""
        ...

    async def delete(self, export_id: str) -> ExportReport | NotTaken | None:
        """Cancel what is not done, and remove all of it; return what it was."""
        ...

    async def file(self, export_id: str, name: str) -> ExportFile | None:
        """A file of an export that is done; None for what its manifest does not name."""
        ...

    async def files(self, export_id: str) -> list[NamedExportFile]:
        """What there is of an export, written so far or done; nothing of one that there is not."""
        ...

    def arguments(self, export_id: str) -> tuple[str, ...]:
        """The options of the command that make the same; none of an export that there is not."""
        ...


class CorpusReading(Protocol):
    """What opens pages of the corpus."""

    @property
    def bounds(self) -> PageBounds:
        """How much a page may be of."""
        ...

    async def open(self, asked: Asked, *, limit: int, cursor: str | None, is_packed: bool) -> Begun | Unable:
        """Begin a page; raises CursorError."""
        ...


class Exports(msgspec.Struct, frozen=True):
    """What these endpoints and those of the corpus need: who does it, who says who may ask, and how often."""

    desk: ExportDesk
    corpus: CorpusReading
    gate: TokenCheck
    requests_per_minute: int
    requests_per_hour: int
    audit: Audit


def export_routes(exports: Exports | None, http: HttpSettings, reader: Reader, replies: Replies) -> Blueprint:
    """The endpoints; without exports there is nobody to ask, and the answer is 404."""
    routes = Blueprint("exports", __name__)
    door = Door(exports, lambda known: (known.gate, known), Scope.EXPORT, http=http, replies=replies)

    async def admitted() -> tuple[Exports, str]:
        known, by = await door.admit(Scope.EXPORT)
        return known, by.token_id

    @routes.post(EXPORTS_PATH)
    async def ask() -> Response:
        known, by = await admitted()
        body = _checked(await reader.body())
        asked = await ask_export(known, reader.members(body), by, replies)
        if isinstance(asked, RefusedExport):
            return error(HTTPStatus.BAD_REQUEST, asked.sentence).response()
        return json_reply(asked, HTTPStatus.ACCEPTED).response()

    @routes.get(EXPORTS_PATH)
    async def reports() -> Response:
        known, _ = await admitted()
        return json_reply({"exports": known.desk.reports()}).response()

    @routes.get(EXPORT_PATH)
    async def report(export_id: str) -> Response:
        known, _ = await admitted()
        return json_reply(found_export(known.desk.report(export_id))).response()

    @routes.delete(EXPORT_PATH)
    async def delete(export_id: str) -> Response:
        known, by = await admitted()
        return json_reply(await delete_export(known, export_id, by)).response()

    @routes.get(FILE_PATH)
    async def file(export_id: str, name: str) -> Response:
        known, _ = await admitted()
        found = await known.desk.file(export_id, name)
        if found is None:
            return error(HTTPStatus.NOT_FOUND, "There is no such file of an export that is done.").response()
        headers = {"Content-Length": str(found.size_bytes), "Cache-Control": "no-store"}
        return Response(_pieces(found.path), HTTPStatus.OK, headers, content_type="application/octet-stream")

    return routes


def _checked(body: bytes) -> bytes:
    if len(body) > ASKED_BYTES_MAX:
        sentence = f"The body is larger than {ASKED_BYTES_MAX:,} bytes, which no request for an export is."
        raise ProblemError(HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", sentence))
    if json_text.lone_surrogates_replaced(body) is not body:
        sentence = "A text of the request holds half of a character, which no text of the corpus does."
        raise ProblemError(HttpProblem(HTTPStatus.BAD_REQUEST, "not_unicode", sentence))
    return body


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    """Read a file a piece at a time; it is opened when the first is wanted, so one that is not sent is not held."""
    descriptor = await trio.to_thread.run_sync(partial(open_file, path, follows_links=False))
    async with trio.wrap_file(os.fdopen(descriptor, "rb")) as source:
        while piece := await source.read(READ_BYTES):
            yield piece


async def ask_export(
    exports: Exports, members: dict[str, Any], by: str, replies: Replies
) -> ExportReport | RefusedExport:
    """Take a request in, by whom an id says; raises ProblemError where there is no room for it."""
    asked = await exports.desk.ask(members)
    if asked is NotTaken.WAITING:
        raise ProblemError(replies.overloaded("exports_waiting", asked))
    if isinstance(asked, NotTaken):
        raise ProblemError(HttpProblem(HTTPStatus.INSUFFICIENT_STORAGE, "exports_full", asked))
    if isinstance(asked, ExportReport):
        await exports.audit.note(by, "export_asked", asked.id, Reader.address())
    return asked


async def delete_export(exports: Exports, export_id: str, by: str) -> ExportReport:
    """Cancel or remove an export, by whom a token's or a session's id says; raises ProblemError where it cannot be."""
    deleted = await exports.desk.delete(export_id)
    if isinstance(deleted, NotTaken):
        raise ProblemError(HttpProblem(HTTPStatus.INSUFFICIENT_STORAGE, "not_deleted", deleted))
    report = found_export(deleted)
    await exports.audit.note(by, "export_deleted", report.id, Reader.address())
    return report


def found_export(report: ExportReport | None) -> ExportReport:
    """The export; raises ProblemError for one that there is not."""
    if report is None:
        raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "no_export", "There is no such export."))
    return report
