"""Sessions as they are now in the description: figures, and the conversation."""

from typing import Any, Final

from actors.envelopes.schema import FEEDBACK_SIGNALS
from central_command.http.description.json_schema import (
    COUNT,
    NUMBER,
    SESSION_ID_SCHEMA,
    TEXT,
    Schema,
    object_of,
    one_of,
    or_null,
    reference,
)
from central_command.http.description.operations import ERROR, OF_LIMITED, answer, errors, operation, template
from central_command.http.endpoints.live_sessions import HISTORY_PATH, SESSION_PATH
from central_command.live_sessions.history import HISTORY_FORMATS

READ_OR_ADMIN: Final[list[dict[str, list[str]]]] = [{"token": ["read"]}, {"token": ["admin"]}]

_ID: Final[dict[str, Any]] = {"name": "session_id", "in": "path", "required": True, "schema": SESSION_ID_SCHEMA}
_FORMAT: Final[dict[str, Any]] = {
    "name": "format",
    "in": "query",
    "schema": {**one_of(HISTORY_FORMATS), "default": HISTORY_FORMATS[0]},
}


def live_session_operations() -> dict[str, Any]:
    """The paths."""
    answers = {
        **OF_LIMITED,
        **errors(401, 404),
        "403": answer("The token has another scope.", ERROR, "WWW-Authenticate"),
    }
    figures = {**answers, "200": answer("The session, open ones too.", "SessionFigures")}
    history = {**answers, **errors(413, 422), "200": answer("Its conversation, in order.", "History")}
    return {
        template(SESSION_PATH): {
            "get": operation(
                "sessionFigures",
                "A session in figures",
                figures,
                description="Counted from what is on disk; no text but the title and summary of its record, scrubbed.",
                security=READ_OR_ADMIN,
                parameters=[_ID],
            )
        },
        template(HISTORY_PATH): {
            "get": operation(
                "sessionHistory",
                "A session's conversation",
                history,
                description="From the corpus, scrubbed, to resume a session with; the model's reasoning is left out.",
                security=READ_OR_ADMIN,
                parameters=[_ID, _FORMAT],
            )
        },
    }


def live_session_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    tokens = object_of(dict.fromkeys(("input", "output", "cacheRead", "cacheWrite", "total"), COUNT))
    metrics = object_of(
        {
            "tokens": or_null(reference("TokenCounts")),
            "modelSwitches": COUNT,
            "messageCount": COUNT,
            "lastActivityAt": TEXT,
        }
    )
    feedback = object_of(
        {
            "signal": one_of(FEEDBACK_SIGNALS),
            "timestamp": NUMBER,
            "targetStep": or_null(COUNT),
            "revisionRounds": or_null(COUNT),
        }
    )
    figures = object_of(
        {
            "id": SESSION_ID_SCHEMA,
            "provider": TEXT,
            "modelId": TEXT,
            "createdAt": TEXT,
            "promptCount": COUNT,
            "channels": {"type": "array", "items": TEXT},
            "durationMs": COUNT,
            "metrics": metrics,
            "state": one_of(("active", "closing", "closed")),
            "chunks": COUNT,
            "steps": COUNT,
            "feedback": {"type": "array", "items": feedback},
            "continues": or_null(TEXT),
            "continuedBy": {"type": "array", "items": TEXT},
        },
        {
            "agentName": TEXT,
            "title": TEXT,
            "summary": TEXT,
            "score": {"type": "object", "additionalProperties": NUMBER},
        },
    )
    message = object_of(
        {
            "role": one_of(("user", "assistant", "system", "tool")),
            "content": TEXT,
            "createdAt": {"type": ["string", "null"]},
        }
    )
    return {
        "TokenCounts": tokens,
        "SessionFigures": figures,
        "Message": message,
        "History": {"type": "array", "items": reference("Message")},
    }
