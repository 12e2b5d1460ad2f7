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
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.replies import HttpProblem, Replies, Reply, error, json_reply
from central_command.http.settings import HttpSettings
from persistence.files.regular import open_file

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


class RefusedExport(msgspec.Struct, frozen=True):
    """Nothing was begun: one sentence says why."""

    sentence: str


class NotTaken(StrEnum):
    """Nothing was changed: why not."""

    WAITING = "As many exports wait as may; ask again when one is done."
    KEPT = "There are as many exports as may be; delete one first."
    NO_ROOM = "The disk takes nothing now; nothing was changed."


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


class Exports(msgspec.Struct, frozen=True):
    """What the endpoints need: who does it, who says who may ask, and how often."""

    desk: ExportDesk
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
        body = await reader.body()
        if len(body) > ASKED_BYTES_MAX:
            sentence = f"The body is larger than {ASKED_BYTES_MAX:,} bytes, which no request for an export is."
            raise ProblemError(HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", sentence))
        asked = await known.desk.ask(reader.members(body))
        await _note(known.audit, by, "export_asked", asked)
        return _asked_reply(asked, replies).response()

    @routes.get(EXPORTS_PATH)
    async def reports() -> Response:
        known, _ = await admitted()
        return json_reply({"exports": known.desk.reports()}).response()

    @routes.get(EXPORT_PATH)
    async def report(export_id: str) -> Response:
        known, _ = await admitted()
        return _found(known.desk.report(export_id)).response()

    @routes.delete(EXPORT_PATH)
    async def delete(export_id: str) -> Response:
        known, by = await admitted()
        deleted = await known.desk.delete(export_id)
        await _note(known.audit, by, "export_deleted", deleted)
        return _found(deleted).response()

    @routes.get(FILE_PATH)
    async def file(export_id: str, name: str) -> Response:
        known, _ = await admitted()
        found = await known.desk.file(export_id, name)
        if found is None:
            return error(HTTPStatus.NOT_FOUND, "There is no such file of an export that is done.").response()
        headers = {"Content-Length": str(found.size_bytes), "Cache-Control": "no-store"}
        return Response(_pieces(found.path), HTTPStatus.OK, headers, content_type="application/octet-stream")

    return routes


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    """Read a file a piece at a time; it is opened when the first is wanted, so one that is not sent is not held."""
    descriptor = await trio.to_thread.run_sync(partial(open_file, path, follows_links=False))
    async with trio.wrap_file(os.fdopen(descriptor, "rb")) as source:
        while piece := await source.read(READ_BYTES):
            yield piece


async def _note(audit: Audit, by: str, action: str, found: object) -> None:
    """Note what was done with an export, if anything was."""
    if isinstance(found, ExportReport):
        await audit.note(by, action, found.id, Reader.address())


def _found(report: ExportReport | NotTaken | None) -> Reply:
    if report is None:
        return error(HTTPStatus.NOT_FOUND, "There is no such export.")
    if isinstance(report, NotTaken):
        return error(HTTPStatus.INSUFFICIENT_STORAGE, report)
    return json_reply(report)


def _asked_reply(asked: ExportReport | RefusedExport | NotTaken, replies: Replies) -> Reply:
    if isinstance(asked, RefusedExport):
        return error(HTTPStatus.BAD_REQUEST, asked.sentence)
    if asked is NotTaken.WAITING:
        raise ProblemError(replies.overloaded("exports_waiting", asked))
    if isinstance(asked, NotTaken):
        return error(HTTPStatus.INSUFFICIENT_STORAGE, asked)
    return json_reply(asked, HTTPStatus.ACCEPTED)
