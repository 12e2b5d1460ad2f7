"""Exports in the description: what is asked for, and how one stands."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from actors.envelopes.schema import COUNT_MAX
from central_command.corpus.filters import ARGUMENTS, DOMAINS_OF_RECORDS, FOR_RECORDS, KNOWN_VALUES, Filters
from central_command.http.description.json_schema import TEXT, Schema, integer, object_of, one_of
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
    "provider": "Any of several, each one that the server takes or that the corpus has sessions of.",
    "after": "Sessions that began then or later (RFC 3339, or the beginning of such a time, UTC); part of it.",
    "before": "Sessions that began earlier; not part of it.",
    "training_eligible": "Only what curation found fit to be trained on.",
}


def _argument(name: str, member: str, known: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    item = one_of(known[member]) if member in known else TEXT
    kinds: dict[type, Schema] = {tuple: {"type": "array", "items": item}, bool: {"type": "boolean"}}
    default = getattr(Filters(), member)
    is_number = name.endswith(("_min", "_max"))
    schema: Schema = integer(0, COUNT_MAX) if is_number else kinds.get(type(default), TEXT)
    described = _DESCRIPTIONS.get(
        name, "As the option of `central-command export`." if is_number else "Any of several."
    )
    return {"name": name, "in": "query", "schema": schema, "description": described}


_KNOWN: Final = {member: known for member, (_, known) in KNOWN_VALUES.items()}


def trajectories_parameters(page_max: int) -> list[dict[str, Any]]:
    """By what sessions are chosen; a page has `page_max` at most."""
    return [*(_argument(*each, _KNOWN) for each in ARGUMENTS.items()), *_page(page_max)]


def records_parameters(page_max: int) -> list[dict[str, Any]]:
    """The same of the intake's records."""
    known = {**_KNOWN, "domains": DOMAINS_OF_RECORDS}
    chosen = (each for each in ARGUMENTS.items() if each[1] in FOR_RECORDS)
    return [*(_argument(*each, known) for each in chosen), *_page(page_max)]


def _page(page_max: int) -> list[dict[str, Any]]:
    words = "Of the page before, with the same arguments."
    return [
        {"name": "cursor", "in": "query", "schema": TEXT, "description": words},
        {"name": "limit", "in": "query", "schema": integer(1, page_max), "description": "Records of a page."},
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
    anything: Schema = {"type": "object"}
    lines = [
        object_of({"trajectory": anything}, {"title": TEXT, "summary": TEXT}, additionalProperties=False),
        object_of({"record": anything}, additionalProperties=False),
        object_of({"end": {"$ref": _END}}, additionalProperties=False),
    ]
    return {
        "CorpusEnd": object_of(
            {"cursor": {"type": ["string", "null"]}, "too_long": {"type": "array", "items": TEXT}},
        ),
        "CorpusLine": {"oneOf": lines},
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
