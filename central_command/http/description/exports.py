"""Exports in the description: what is asked for, and how one stands."""

from typing import Any, Final

from central_command.http.description.json_schema import TEXT, Schema, object_of, one_of
from central_command.http.endpoints.exports import ExportState

EXPORT_SECURITY: Final[list[dict[str, list[str]]]] = [{"token": ["export"]}]

_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
_EXPORT_ID: Schema = {"type": "string", "pattern": "^exp_[0-9a-f]{16}$"}

EXPORT_PARAMETERS: Final[list[dict[str, Any]]] = [
    {"name": "export_id", "in": "path", "required": True, "schema": _EXPORT_ID},
]
FILE_PARAMETERS: Final[list[dict[str, Any]]] = [
    *EXPORT_PARAMETERS,
    {"name": "name", "in": "path", "required": True, "schema": TEXT, "description": "As the manifest has it."},
]


def export_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    export = object_of(
        {
            "id": _EXPORT_ID,
            "state": one_of(ExportState),
            "asked_at": TEXT,
            "folder": TEXT,
            "formats": {"type": "array", "items": TEXT},
            "rows": _COUNT,
            "bytes": _COUNT,
            "seen": _COUNT,
            "kept": _COUNT,
            "left_out": {"type": ["object", "null"], "additionalProperties": {"type": "integer"}},
            "reason": {"type": ["string", "null"]},
        }
    )
    return {
        "AskExport": object_of(
            {"formats": {"type": "array", "minItems": 1, "items": TEXT}},
            {
                "selection": {"type": "object", "description": "Options of the command that say what is chosen."},
                "options": {"type": "object", "description": "Options of the command that say how it is written."},
            },
            additionalProperties=False,
        ),
        "Export": export,
        "Exports": object_of({"exports": {"type": "array", "items": {"$ref": "#/components/schemas/Export"}}}),
    }
