"""Jobs in the description: how one stands, what happened to it, and what a queue holds."""

from typing import Any, Final

from central_command.http.description.json_schema import (
    BOOLEAN,
    COUNT,
    TEXT,
    Schema,
    integer,
    object_of,
    one_of,
    or_null,
    reference,
)
from persistence.databases.jobs_database import JobStatus

ADMIN_SECURITY: Final[list[dict[str, list[str]]]] = [{"token": ["admin"]}]

_NULLABLE_TEXT: Final[Schema] = or_null(TEXT)
_JOB_ID: Final[Schema] = {
    "type": "string",
    "pattern": "^[a-z][a-z0-9-]{0,62}__([1-9][0-9]{0,17}|[a-z]{1,8}_[0-9a-f]{14,32})$",
}
_QUEUE: Final[Schema] = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"}

JOB_PARAMETERS: Final[list[dict[str, Any]]] = [{"name": "job_id", "in": "path", "required": True, "schema": _JOB_ID}]
QUEUE_PARAMETERS: Final[list[dict[str, Any]]] = [{"name": "name", "in": "path", "required": True, "schema": _QUEUE}]


def page_parameters(page_max: int) -> list[dict[str, Any]]:
    """By what jobs are listed; a page has `page_max` at most."""
    return [
        {"name": "status", "in": "query", "schema": TEXT, "description": "An unknown one has no jobs."},
        {"name": "queue", "in": "query", "schema": _QUEUE},
        {
            "name": "cursor",
            "in": "query",
            "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"},
            "description": "`nextCursor` of the page before.",
        },
        {"name": "limit", "in": "query", "schema": integer(1, page_max)},
    ]


def job_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    job: dict[str, Schema] = {
        "id": _JOB_ID,
        "name": TEXT,
        "queue": _QUEUE,
        "status": one_of(JobStatus),
        "priority": {"type": "integer"},
        "attempts": COUNT,
        "maxAttempts": COUNT,
        "progress": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "createdAt": TEXT,
        "dueAt": _NULLABLE_TEXT,
        "processedAt": _NULLABLE_TEXT,
        "finishedAt": _NULLABLE_TEXT,
        "failedReason": _NULLABLE_TEXT,
        "data": {},
        "result": {},
    }
    event = object_of({"event": TEXT, "attempts": COUNT, "error": _NULLABLE_TEXT, "at": TEXT})
    line = object_of({"at": TEXT, "line": TEXT})
    queue = object_of(
        {
            "name": _QUEUE,
            "waiting": COUNT,
            "active": COUNT,
            "completed": COUNT,
            "failed": COUNT,
            "delayed": COUNT,
            "paused": BOOLEAN,
            "paused_at": _NULLABLE_TEXT,
        }
    )
    return {
        "Job": object_of(job),
        "JobHistory": object_of(
            {**job, "events": {"type": "array", "items": event}, "log": {"type": "array", "items": line}}
        ),
        "Jobs": object_of({"jobs": {"type": "array", "items": reference("Job")}, "total": COUNT}, {"nextCursor": TEXT}),
        "Queues": object_of({"queues": {"type": "array", "items": queue}}),
        "JobChanged": object_of({"ok": BOOLEAN, "message": TEXT}),
    }
