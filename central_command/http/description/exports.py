"""Exports in the description: what is asked for, and how one stands."""

from typing import Any, Final

from central_command.corpus.filters import ARGUMENTS, FOR_RECORDS, Filters
from central_command.http.description.json_schema import TEXT, Schema, object_of, one_of
from central_command.http.endpoints.exports import ExportState

EXPORT_SECURITY: Final[list[dict[str, list[str]]]] = [{"token": ["export"]}]

_END: Final = "#/components/schemas/CorpusEnd"
_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
_EXPORT_ID: Schema = {"type": "string", "pattern": "^exp_[0-9a-f]{16}$"}

EXPORT_PARAMETERS: Final[list[dict[str, Any]]] = [
    {"name": "export_id", "in": "path", "required": True, "schema": _EXPORT_ID},
]
FILE_PARAMETERS: Final[list[dict[str, Any]]] = [
    *EXPORT_PARAMETERS,
    {"name": "name", "in": "path", "required": True, "schema": TEXT, "description": "As the manifest has it."},
]

_DESCRIPTIONS: Final = {
    "after": "Sessions that began then or later (RFC 3339, or the beginning of such a time, UTC); part of it.",
    "before": "Sessions that began earlier; not part of it.",
    "training_eligible": "Only what curation found fit to be trained on.",
}


def _argument(name: str, member: str) -> dict[str, Any]:
    kinds: dict[type, Schema] = {tuple: {"type": "array", "items": TEXT}, bool: {"type": "boolean"}}
    default = getattr(Filters(), member)
    is_number = name.endswith(("_min", "_max"))
    schema: Schema = {"type": "integer", "minimum": 0} if is_number else kinds.get(type(default), TEXT)
    described = _DESCRIPTIONS.get(
        name, "As the option of `central-command export`." if is_number else "Any of several."
    )
    return {"name": name, "in": "query", "schema": schema, "description": described}


_PAGE: Final[list[dict[str, Any]]] = [
    {"name": "cursor", "in": "query", "schema": TEXT, "description": "Of the page before, with the same arguments."},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}, "description": "Records of a page."},
]
TRAJECTORIES_PARAMETERS: Final = [*(_argument(*each) for each in ARGUMENTS.items()), *_PAGE]
RECORDS_PARAMETERS: Final = [
    *(_argument(name, member) for name, member in ARGUMENTS.items() if member in FOR_RECORDS),
    *_PAGE,
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
    one_line = {"trajectory": {"type": "object"}, "record": {"type": "object"}, "end": {"$ref": _END}}
    return {
        "CorpusEnd": object_of(
            {"cursor": {"type": ["string", "null"]}, "too_long": {"type": "array", "items": TEXT}},
        ),
        "CorpusLine": object_of({}, one_line, minProperties=1, maxProperties=1, additionalProperties=False),
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
