"""Access in the description: signing in and out, tokens and browser sessions."""

import re
from typing import Any, Final

from central_command.access.bans import CONTRIBUTOR, DAYS_MAX, MACHINE, REASON_CHARS_MAX, BanKind
from central_command.access.making import NAME_CHARS_MAX
from central_command.access.tokens import TOKEN, Scope
from central_command.http.description.json_schema import TEXT, Schema, integer, object_of, one_of, or_null, text_of
from central_command.http.description.operations import (
    ERROR,
    OF_BODIES,
    OF_LIMITED,
    Answers,
    answer,
    body,
    errors,
    operation,
    template,
)
from central_command.http.endpoints.access import (
    BROWSER_SESSION_ID,
    BROWSER_SESSION_PATH,
    BROWSER_SESSIONS_PATH,
    TOKEN_ID,
    TOKEN_PATH,
    TOKENS_PATH,
)
from central_command.http.endpoints.audit import AFTER_MAX, AUDIT_PATH, ENTRIES_DEFAULT, ENTRIES_MAX
from central_command.http.endpoints.bans import BAN_ID, BAN_PATH, BANS_PATH
from central_command.http.endpoints.sign_in import LINK_PATH, SIGN_OUT_PATH
from central_command.http.requests.browsers import SIGN_IN_PATH
from central_command.http.requests.replies import HTML_TYPE
from persistence.format.times import DURATION

SECURITY: Final[list[dict[str, list[str]]]] = [{"token": ["admin"]}]


def _pattern(pattern: re.Pattern[str]) -> Schema:
    return {"type": "string", "pattern": pattern.pattern.replace("\\A", "^").replace("\\Z", "$")}


_TOKEN_PARAMETERS: Final = [{"name": "token_id", "in": "path", "required": True, "schema": _pattern(TOKEN_ID)}]
_SESSION_PARAMETERS: Final = [
    {"name": "session_id", "in": "path", "required": True, "schema": _pattern(BROWSER_SESSION_ID)}
]
_BAN_PARAMETERS: Final = [{"name": "ban_id", "in": "path", "required": True, "schema": _pattern(BAN_ID)}]
_BANNED: Final[dict[str, Schema]] = {
    "machine": _pattern(MACHINE),
    "contributor": _pattern(CONTRIBUTOR),
    "address": {**TEXT, "description": "An IP address, or a network (CIDR)."},
}
_OF_A_BAN: Final[dict[str, Schema]] = {
    "reason": text_of(REASON_CHARS_MAX, description="Printable characters only."),
    "days": or_null(integer(1, DAYS_MAX)),
}
_AUDIT_PARAMETERS: Final = [
    {"name": "after", "in": "query", "schema": integer(1, AFTER_MAX), "description": "The last line seen."},
    {"name": "limit", "in": "query", "schema": {**integer(1, ENTRIES_MAX), "default": ENTRIES_DEFAULT}},
]
_PAGE: Final[dict[str, Any]] = {"description": "A page.", "content": {HTML_TYPE: {"schema": TEXT}}}
_ELSEWHERE: Final[dict[str, Any]] = {"description": "Done; the browser goes on there."}


def access_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    scopes: Schema = {"type": "array", "minItems": 1, "items": one_of(Scope)}
    held: dict[str, Schema] = {
        "name": TEXT,
        "scopes": scopes,
        "created_at": TEXT,
        "expires_at": or_null(TEXT),
        "revoked_at": or_null(TEXT),
        "last_used_at": or_null(TEXT),
    }
    token = {"token_id": _pattern(TOKEN_ID), **held}
    ban = object_of(
        {
            "ban_id": _pattern(BAN_ID),
            "kind": one_of(BanKind),
            "subject": TEXT,
            "reason": TEXT,
            "created_at": TEXT,
            "expires_at": or_null(TEXT),
        }
    )
    said = dict.fromkeys(("at", "actor", "action", "subject", "address"), TEXT)
    entry = object_of({"n": integer(1, AFTER_MAX), **said})
    session = object_of({"session_id": _pattern(BROWSER_SESSION_ID), "origin": TEXT, **held})
    return {
        "AskToken": object_of(
            {"scopes": scopes},
            {
                "name": text_of(NAME_CHARS_MAX, description="Printable characters only."),
                "expires": or_null(_pattern(DURATION)),
            },
            additionalProperties=False,
        ),
        "Token": object_of(token),
        "NewToken": object_of({"token": _pattern(TOKEN), **token}),
        "Tokens": object_of({"tokens": {"type": "array", "items": {"$ref": "#/components/schemas/Token"}}}),
        "BrowserSessions": object_of({"sessions": {"type": "array", "items": session}}),
        "Revoked": object_of({"revoked": TEXT}),
        "Audit": object_of({"entries": {"type": "array", "items": entry}, "next": {"type": ["integer", "null"]}}),
        "AskBan": {
            "oneOf": [
                object_of({name: schema}, _OF_A_BAN, additionalProperties=False) for name, schema in _BANNED.items()
            ]
        },
        "Ban": ban,
        "Bans": object_of({"bans": {"type": "array", "items": {"$ref": "#/components/schemas/Ban"}}}),
    }


def access_operations() -> dict[str, Any]:
    """The paths."""
    asked: Answers = {
        **OF_LIMITED,
        **errors(401, 404),
        "403": answer("The token, or one that is to be made, has another scope.", ERROR, "WWW-Authenticate"),
    }
    noted = {**asked, **errors(507)}
    revoked: Answers = {**noted, "200": answer("It is worth nothing from now on.", "Revoked")}
    return {
        TOKENS_PATH: {
            "get": operation(
                "tokens", "All tokens", {**asked, "200": answer("The oldest first.", "Tokens")}, security=SECURITY
            ),
            "post": operation(
                "makeToken",
                "Make a token",
                {**asked, **OF_BODIES, **errors(507), "201": answer("It is shown this once.", "NewToken")},
                description="Of scopes that the token which asks has itself.",
                security=SECURITY,
                requestBody=body({"$ref": "#/components/schemas/AskToken"}),
            ),
        },
        template(TOKEN_PATH): {
            "delete": operation(
                "revokeToken",
                "Revoke a token, and the browser sessions opened with it",
                revoked,
                security=SECURITY,
                parameters=_TOKEN_PARAMETERS,
            )
        },
        BROWSER_SESSIONS_PATH: {
            "get": operation(
                "browserSessions",
                "Browsers that have signed in",
                {**asked, "200": answer("The oldest first.", "BrowserSessions")},
                security=SECURITY,
            )
        },
        template(BROWSER_SESSION_PATH): {
            "delete": operation(
                "endBrowserSession",
                "End a browser session",
                revoked,
                security=SECURITY,
                parameters=_SESSION_PARAMETERS,
            )
        },
        **_bans(asked),
        AUDIT_PATH: {
            "get": operation(
                "audit",
                "What administrators have changed",
                {**asked, "200": answer("The oldest first; `next` is the `after` of those that follow.", "Audit")},
                security=SECURITY,
                parameters=_AUDIT_PARAMETERS,
            )
        },
        **_pages(),
    }


def _bans(asked: Answers) -> dict[str, Any]:
    """Who may open no sessions."""
    return {
        BANS_PATH: {
            "get": operation(
                "bans", "All bans", {**asked, "200": answer("The oldest first.", "Bans")}, security=SECURITY
            ),
            "post": operation(
                "ban",
                "Ban a machine, a contributor or an address",
                {**asked, **OF_BODIES, **errors(404, 507), "201": answer("It is on disk, and counts.", "Ban")},
                description="One of the three; an earlier ban of the same is replaced. Openings are refused, no more. "
                "A machine is named by its whole fingerprint, or the beginning of just one that has opened a session; "
                "any other is 404.",
                security=SECURITY,
                requestBody=body({"$ref": "#/components/schemas/AskBan"}),
            ),
        },
        template(BAN_PATH): {
            "delete": operation(
                "unban",
                "Take a ban back",
                {**asked, **errors(507), "200": answer("It counts no more.", "Ban")},
                security=SECURITY,
                parameters=_BAN_PARAMETERS,
            )
        },
    }


def _pages() -> dict[str, Any]:
    """What browsers open: pages that need no script, and the forms on them."""
    form = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _form_schema()}}}
    shown: Answers = {**OF_LIMITED, **errors(404), "200": _PAGE}
    cross_site = answer("The request does not come from a page of this server.", ERROR)
    done: Answers = {**OF_LIMITED, **errors(404, 507), "303": _ELSEWHERE, "403": cross_site}
    why = {"description": "A page that says why.", "content": _PAGE["content"]}
    limited, full = ({**found, "content": {**_PAGE["content"], **found["content"]}} for found in _ALSO_PAGES)
    return {
        SIGN_IN_PATH: {
            "get": operation("signInPage", "Where a browser signs in", shown),
            "post": operation(
                "signIn",
                "Sign a browser in with a token, or the code of a link",
                {**done, **OF_BODIES, "401": why, "429": limited, "507": full},
                requestBody=form,
            ),
        },
        LINK_PATH: {
            "get": operation("linkPage", "Where a link leads: a button, so that it is not used by a look", shown)
        },
        SIGN_OUT_PATH: {"post": operation("signOut", "Sign a browser out", {**done, **OF_BODIES})},
    }


_ALSO_PAGES: Final = (OF_LIMITED["429"], errors(507)["507"])
"""What is a page where the form is at fault, and JSON where the request is."""


def _form_schema() -> Schema:
    return object_of({"key": TEXT}, {"next": {**TEXT, "description": "A path of this server to go on to."}})
