"""The observer in the description: an event, and what is told of operations."""

from typing import Any, Final

from actors.observer.operation import DURATION_MS_MAX, FLAGS, NUMBERS, TEXTS
from central_command.http.description.json_schema import (
    BOOLEAN,
    COUNT,
    NUMBER,
    TEXT,
    Schema,
    integer,
    object_of,
    one_of,
    or_null,
    reference,
)
from central_command.http.description.operations import ERROR, OF_BODIES, OF_LIMITED, answer, body, errors, operation
from central_command.http.endpoints.observer import (
    EVENT_PATH,
    FAILURES_PATH,
    HEALTH_PATH,
    LINE_NUMBER_MAX,
    OPERATIONS_MAX,
    OPERATIONS_PATH,
    PLAYBOOKS_PATH,
    STATS_PATH,
)

READING: Final[list[dict[str, list[str]]]] = [{"token": ["read"]}]
WRITING: Final[list[dict[str, list[str]]]] = [{"token": ["intake"]}]

_CHANGE: Final = object_of({"at": TEXT, "what": TEXT})

OPERATIONS_PARAMETERS: Final[list[dict[str, Any]]] = [
    {"name": "limit", "in": "query", "schema": integer(1, OPERATIONS_MAX)},
    {
        "name": "before",
        "in": "query",
        "schema": integer(1, LINE_NUMBER_MAX),
        "description": "Only operations before this one: `next` of the page before.",
    },
    {"name": "source", "in": "query", "schema": TEXT},
    {"name": "endpoint", "in": "query", "schema": TEXT},
    {"name": "success", "in": "query", "schema": one_of(("true", "false"))},
]


def observer_operations() -> dict[str, Any]:
    """The paths."""
    answers = {
        **OF_LIMITED,
        **errors(401, 404),
        "403": answer("The token has another scope.", ERROR, "WWW-Authenticate"),
    }

    def asked(name: str, summary: str, schema: str, **more: Any) -> dict[str, Any]:
        found = {**answers, "200": answer(summary, schema)}
        return {"get": operation(name, summary, found, security=READING, **more)}

    taken = {**answers, **OF_BODIES, **errors(507), "200": answer("The operation is on disk.", "EventAccepted")}
    return {
        EVENT_PATH: {
            "post": operation(
                "observe", "Say what was done", taken, security=WRITING, requestBody=body(reference("Event"))
            )
        },
        STATS_PATH: asked("observerStats", "Figures of the last operations", "ObserverStats"),
        HEALTH_PATH: asked("observerHealth", "That the observer is there", "ObserverHealth"),
        FAILURES_PATH: asked("observerFailures", "Failures, grouped", "ObserverFailures"),
        PLAYBOOKS_PATH: asked("observerPlaybooks", "What went well, by endpoint", "ObserverPlaybooks"),
        OPERATIONS_PATH: asked(
            "observerOperations", "The last operations", "ObserverOperations", parameters=OPERATIONS_PARAMETERS
        ),
    }


def observer_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    number: Schema = {"type": "number", "minimum": 0, "maximum": DURATION_MS_MAX}
    members = {
        **{name: or_null(TEXT) for name in sorted(TEXTS)},
        **{name: or_null(BOOLEAN) for name in sorted(FLAGS)},
        **{name: or_null(number) for name in sorted(NUMBERS)},
    }
    scenario = {"ts": TEXT, "ok": BOOLEAN, "staffer": or_null(TEXT), "kind": or_null(TEXT), "role": or_null(TEXT)}
    group = {
        "id": TEXT,
        "endpoint": TEXT,
        "message": TEXT,
        "count": COUNT,
        "wordings": COUNT,
        "first": TEXT,
        "last": TEXT,
        "cause": or_null(TEXT),
        "recommendation": TEXT,
        "recommended_by": {"enum": ["table", "judge", "nobody"]},
        "example": object_of({"timestamp": TEXT, "source": TEXT, "input_summary": TEXT, "error": TEXT}),
        "before": _list_of(_CHANGE),
    }
    playbook = {"endpoint": TEXT, "count": COUNT, "average_ms": NUMBER, "p95_ms": NUMBER, "pattern": TEXT}
    shown = {"n": COUNT, "received_at": TEXT, "operation": {"type": "object"}}
    return {
        "Event": object_of({}, members),
        "EventAccepted": object_of({"accepted": {"const": True}, "ring_size": COUNT}),
        "ObserverStats": object_of(
            {
                "total": COUNT,
                "successes": COUNT,
                "failures": COUNT,
                "by_source": {"type": "object", "additionalProperties": COUNT},
                "recent_scenario_ops": _list_of(object_of(scenario)),
            }
        ),
        "ObserverHealth": object_of({"status": {"const": "ok"}, "ops_in_ring": COUNT}),
        "FailureGroup": object_of(group),
        "Playbook": object_of({**playbook, "first": TEXT, "last": TEXT}),
        "ObserverFailures": object_of({"failures": _list_of(reference("FailureGroup"))}),
        "ObserverPlaybooks": object_of({"playbooks": _list_of(reference("Playbook"))}),
        "ObserverOperations": object_of({"operations": _list_of(object_of(shown)), "next": or_null(COUNT)}),
    }


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}
