"""`/api/access/bans`: who may open no sessions, seen and changed with the scope `admin`."""

import re
from http import HTTPStatus
from typing import Any, Final

import msgspec
from quart import Blueprint, Response

from central_command.access.bans import (
    DAYS_MAX,
    REASON_CHARS_MAX,
    WRONG_REASON,
    Ban,
    BanKind,
    NotOne,
    subject_as_kept,
    with_whole_machine,
    wrong_subject,
)
from central_command.access.labels import is_label
from central_command.access.tokens import Scope
from central_command.http.endpoints.access import Access, Objection, door_of, small_body, storage_watched
from central_command.http.requests.bodies import Reader
from central_command.http.requests.replies import Replies, Reply, error, json_reply
from central_command.http.settings import HttpSettings
from persistence.databases.bans import StoredBan, TooManyBans

BANS_PATH: Final = "/api/access/bans"
BAN_PATH: Final = f"{BANS_PATH}/<ban_id>"
TOO_MANY_BANS: Final = "There are as many bans as access.bans_max allows: take one back first."
BAN_ID: Final = re.compile(r"\Aban_[0-9a-f]{16}\Z")


class AskedBan(msgspec.Struct):
    """What somebody asks of a ban, as it came: who is to be banned is one of the first three."""

    machine: Any = None
    contributor: Any = None
    address: Any = None
    reason: Any = ""
    days: Any = None


def ban_routes(access: Access | None, http: HttpSettings, reader: Reader, replies: Replies) -> Blueprint:
    """The endpoints; without access there is nobody to ask, and the answer is 404."""
    routes = Blueprint("bans", __name__)
    door = door_of(access, http, replies)

    async def admitted() -> tuple[Access, str]:
        known, by = await door.admit(Scope.ADMIN)
        return known, by.token_id

    @routes.get(BANS_PATH)
    async def bans() -> Response:
        known, _ = await admitted()
        async with storage_watched(replies):
            return json_reply({"bans": await known.bans.all()}).response()

    @routes.post(BANS_PATH)
    async def ban() -> Response:
        known, by = await admitted()
        wanted = wanted_ban(reader.asked(AskedBan, await small_body(reader)))
        if isinstance(wanted, Objection):
            return error(HTTPStatus.BAD_REQUEST, wanted.sentence).response()
        async with storage_watched(replies):
            made = await ban_noted(known, by, wanted)
        return (error(HTTPStatus.NOT_FOUND, made.sentence) if isinstance(made, NotOne) else _made(made)).response()

    @routes.delete(BAN_PATH)
    async def unban(ban_id: str) -> Response:
        known, by = await admitted()
        async with storage_watched(replies):
            removed = await unban_noted(known, by, ban_id)
        return (
            error(HTTPStatus.NOT_FOUND, "There is no such ban.") if removed is None else json_reply(removed)
        ).response()

    return routes


def wanted_ban(body: AskedBan) -> Ban | Objection:
    """Who is to be banned; or what is wrong with it."""
    named = {kind: value for kind in BanKind if (value := getattr(body, kind)) is not None}
    if len(named) != 1:
        return Objection(f"One of {', '.join(BanKind)} must be there, and only one.")
    ((kind, text),) = named.items()
    subject = subject_as_kept(kind, text) if isinstance(text, str) else None
    if subject is None:
        return Objection(wrong_subject(kind, text))
    if not isinstance(body.reason, str) or not is_label(body.reason, REASON_CHARS_MAX):
        return Objection(WRONG_REASON)
    days = int(body.days) if isinstance(body.days, float) and body.days.is_integer() else body.days  # JSON has one kind
    if days is not None and (type(days) is not int or not 1 <= days <= DAYS_MAX):
        return Objection(f"days must be a whole number from 1 to {DAYS_MAX}, or null for no end.")
    return Ban(kind, subject, body.reason, days)


async def ban_noted(known: Access, by: str, wanted: Ban) -> StoredBan | TooManyBans | NotOne:
    """Ban somebody, and note it. Raises DatabaseFailure and NotNotedError."""
    machines = await known.machines(wanted.subject) if wanted.kind == BanKind.MACHINE else ()
    whole = with_whole_machine(wanted, machines)
    if isinstance(whole, NotOne):
        return whole
    made = await known.bans.ban(whole)
    if isinstance(made, StoredBan):
        await known.audit.note(by, "banned", made.named, Reader.address())
    return made


async def unban_noted(known: Access, by: str, ban_id: str) -> StoredBan | None:
    """Take a ban back, and note it; None for one that there is not. Raises DatabaseFailure and NotNotedError."""
    removed = await known.bans.unban(ban_id) if BAN_ID.match(ban_id) else None
    if removed is not None:
        await known.audit.note(by, "unbanned", removed.named, Reader.address())
    return removed


def _made(made: StoredBan | TooManyBans) -> Reply:
    if isinstance(made, TooManyBans):
        return error(HTTPStatus.INSUFFICIENT_STORAGE, TOO_MANY_BANS)
    return json_reply(made, HTTPStatus.CREATED)
