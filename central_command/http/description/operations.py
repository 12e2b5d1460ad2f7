"""How an operation is put together in the description: its answers, and those that every request may get."""

from typing import Any

from central_command.http.description.json_schema import Schema, reference
from central_command.http.requests.replies import JSON_TYPE

Answers = dict[str, dict[str, Any]]
"""By status, as OpenAPI writes it."""

ERROR = reference("Error")
_SENTENCES = {
    400: "The request cannot be read, or something in it is not allowed.",
    401: "There is no valid token.",
    403: "The contributor has registered a key, and the request is not signed with it.",
    404: "There is nothing of that name.",
    408: "The body did not arrive in time.",
    409: "The session is open with another key, or something else was said last.",
    413: "The body is too large.",
    415: "The body has a content encoding.",
    422: "What is asked for is damaged.",
    429: "Too many requests of this address, or too much of this kind.",
    431: "The request's first line and headers are too large.",
    500: "A fault of the server.",
    501: "A transfer encoding other than chunked.",
    503: "Overload, shutdown or storage out of order: nothing was done.",
    505: "A version of HTTP that the server does not speak.",
    507: "Nothing more can be stored.",
}

HEADERS: dict[str, Any] = {
    "Access-Control-Allow-Origin": {"required": True, "schema": {"const": "*"}},
    "Access-Control-Expose-Headers": {"required": True, "schema": {"const": "Retry-After, X-Request-Id"}},
    "X-Request-Id": {
        "required": True,
        "description": "The request's own, if it has a sane one, or drawn: what the server's log lines name it by.",
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z][0-9A-Za-z._:/+=@-]{0,127}$"},
    },
    "Retry-After": {
        "required": True,
        "description": "Seconds to wait before the request is sent again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "pattern": "^Bearer "}},
    "Accept-Encoding": {"required": True, "schema": {"const": "identity"}},
}
_ON_EVERY_ANSWER = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "X-Request-Id")


def answer(words: str, schema: Schema | str, *headers: str, content_type: str = JSON_TYPE) -> dict[str, Any]:
    """An answer; a schema is given as itself or by its name."""
    return {
        "description": words,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in (*_ON_EVERY_ANSWER, *headers)},
        "content": {content_type: {"schema": reference(schema) if isinstance(schema, str) else schema}},
    }


def errors(*statuses: int, schema: Schema = ERROR) -> Answers:
    """Refusals of these statuses, in this form."""
    headers = {
        401: ("WWW-Authenticate",),
        415: ("Accept-Encoding",),
        429: ("Retry-After",),
        503: ("Retry-After",),
    }
    return {str(status): answer(_SENTENCES[status], schema, *headers.get(status, ())) for status in statuses}


def operation(name: str, summary: str, answers: Answers, schema: Schema = ERROR, **more: object) -> dict[str, Any]:
    """An operation with its own answers and those of every request; `schema` is how this path says no."""
    answers = {**errors(431, 501), **errors(400, 500, 505, schema=_or_malformed(schema)), **answers}
    return {"operationId": name, "summary": summary, **more, "responses": dict(sorted(answers.items()))}


def body(schema: Schema) -> dict[str, Any]:
    """A body; any content type is taken for JSON."""
    return {"required": True, "content": {JSON_TYPE: {"schema": schema}}}


def _or_malformed(schema: Schema) -> Schema:
    """What is no HTTP at all is refused before it is known on which path."""
    return schema if schema is ERROR else {"anyOf": [schema, ERROR]}


OF_LIMITED = {**errors(503), **errors(429, schema=reference("TooMany"))}
OF_BODIES = errors(408, 413, 415)


def template(path: str) -> str:
    """A route's path as OpenAPI writes it."""
    return path.replace("<", "{").replace(">", "}")
