"""What operators watch a server by, in the description: its life, its readiness by check, its metrics."""

from typing import Any, Final

from central_command.http.description.json_schema import BOOLEAN, TEXT, Schema, object_of

METRICS_SECURITY: Final[list[dict[str, list[str]]]] = [{"token": ["read"]}, {"token": ["admin"]}]

VERBOSE_PARAMETERS: Final[list[dict[str, Any]]] = [
    {
        "name": "verbose",
        "in": "query",
        "required": False,
        "allowEmptyValue": True,
        "schema": TEXT,
        "description": "With it, whatever its value is, every check is told.",
    }
]


def monitoring_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    check = object_of({"name": TEXT, "ok": BOOLEAN, "needed": BOOLEAN, "detail": TEXT})
    verbose: dict[str, Schema] = {
        "uptime": {"type": "number", "minimum": 0},
        "checks": {"type": "array", "items": check},
    }
    return {
        "Live": object_of({"live": {"const": True}}),
        "NotLive": object_of({"error": TEXT, "live": {"const": False}}),
        "ReadyByCheck": object_of({"ready": {"const": True}}, verbose),
        "NotReadyByCheck": object_of({"error": TEXT, "ready": {"const": False}}, verbose),
    }
