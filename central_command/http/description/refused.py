"""Dead letters in the description: listed, shown, and tried again."""

from typing import Any, Final

from actors.envelopes.refusals import RefusalCode
from central_command.http.description.json_schema import (
    BOOLEAN,
    SESSION_ID_SCHEMA,
    TEXT,
    Schema,
    hexadecimal,
    integer,
    object_of,
    reference,
)
from central_command.http.description.operations import (
    ERROR,
    OF_BODIES,
    OF_LIMITED,
    answer,
    errors,
    operation,
    template,
)
from central_command.http.endpoints.refused import LETTER_PATH, PAGE_DEFAULT, PAGE_MAX, REFUSED_PATH, RETRY_PATH

ADMIN_SECURITY: Final[list[dict[str, list[str]]]] = [{"token": ["admin"]}]

BODY: Final = "The envelope as it came, but that contributors go by their pseudonyms; null where none can be read."
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}


def _query(name: str, schema: Schema, words: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": words}


LETTER_PARAMETERS: Final[list[dict[str, Any]]] = [
    {"name": "letter_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}},
]
PAGE_PARAMETERS: Final[list[dict[str, Any]]] = [
    _query("code", {"type": "string", "pattern": "^[a-z_]{1,64}$"}, f"Why refused, such as {RefusalCode.SCHEMA}."),
    _query("session", SESSION_ID_SCHEMA, "Of one session."),
    _query("machine", {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"}, "Of sessions that it opened."),
    _query("contributor", hexadecimal(32), "Of sessions that they signed, or whose first accepted chunk names them."),
    _query("day", {"type": "string", "format": "date"}, "Of one day, UTC."),
    _query("cursor", {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}, "What the page before says."),
    _query("limit", {**integer(1, PAGE_MAX), "default": PAGE_DEFAULT}, "At most so many."),
]


def refused_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    letter: dict[str, Schema] = {
        "id": TEXT,
        "session_id": TEXT,
        "machine": _TEXT_OR_NULL,
        "type": TEXT,
        "sequence": {"type": ["integer", "null"], "minimum": 0},
        "code": TEXT,
        "reason": TEXT,
        "refused_at": TEXT,
        "taken_in_as": _TEXT_OR_NULL,
        "can_retry": BOOLEAN,
        "hindered_by": _TEXT_OR_NULL,
        "hindrance": _TEXT_OR_NULL,
    }
    result = object_of(
        {"id": TEXT, "taken_in": BOOLEAN, "message": TEXT}, {"taken_in_as": TEXT, "already": BOOLEAN, "code": TEXT}
    )
    return {
        "DeadLetter": object_of(letter),
        "DeadLetterContents": object_of({**letter, "body": {**_TEXT_OR_NULL, "description": BODY}}),
        "DeadLetters": object_of(
            {"refused": {"type": "array", "items": reference("DeadLetter")}, "next_cursor": _TEXT_OR_NULL}
        ),
        "Retried": object_of({"ok": BOOLEAN, "message": TEXT, "results": {"type": "array", "items": result}}),
    }


def refused_operations() -> dict[str, Any]:
    """The paths."""
    asked = {
        **OF_LIMITED,
        **errors(401, 404),
        "403": answer("The token has another scope.", ERROR, "WWW-Authenticate"),
    }
    one: dict[str, Any] = {"security": ADMIN_SECURITY, "parameters": LETTER_PARAMETERS}
    page = {**asked, "200": answer("The newest first.", "DeadLetters")}
    contents = {**asked, "200": answer("What it is, and what it holds.", "DeadLetterContents")}
    tried = {**asked, **OF_BODIES, **errors(507), "200": answer("What became of it: `ok` says which.", "Retried")}
    words = "Letters that make a trajectory are taken in together; `results` has each."
    return {
        REFUSED_PATH: {
            "get": operation("refused", "Dead letters", page, security=ADMIN_SECURITY, parameters=PAGE_PARAMETERS)
        },
        template(LETTER_PATH): {"get": operation("refusedLetter", "One of them", contents, **one)},
        template(RETRY_PATH): {"post": operation("retryLetter", "Take it in late", tried, description=words, **one)},
    }
