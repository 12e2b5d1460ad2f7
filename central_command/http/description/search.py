"""Search in the description: what can be asked, and a page of hits."""

from typing import Any, Final

from central_command.corpus.filters import KNOWN_VALUES
from central_command.http.description.json_schema import TEXT, Schema, integer, object_of, one_of
from central_command.http.endpoints.search import FILTERS
from central_command.search.queries import QUERY_CHARS_MAX
from central_command.search.questions import Mode, Order

READ_SECURITY: Final[list[dict[str, list[str]]]] = [{"token": ["read"]}]

_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}

_DESCRIPTIONS: Final = {
    "provider": "The agent.",
    "model": "The model.",
    "domain": "The field of work; `none` for sessions without one.",
    "tier": "A, B or C.",
    "outcome": "What the client said of the end; `none` where it said nothing.",
    "contributor": "A pseudonym, as hits have it.",
    "tool": "A tool that some step names.",
}

_KNOWN: Final[dict[str, Schema]] = {name: one_of(KNOWN_VALUES[FILTERS[name]][1]) for name in ("tier", "outcome")}
"""What else than these nothing can have."""

_PARAMETERS: Final[list[dict[str, Any]]] = [
    {
        "name": "q",
        "in": "query",
        "required": True,
        "schema": {"type": "string", "maxLength": QUERY_CHARS_MAX},
        "description": 'Words, "phrases", beginnings*, -exclusions, and OR between two words.',
    },
    {"name": "mode", "in": "query", "schema": {**one_of(Mode), "default": Mode.TEXT}},
    {"name": "order", "in": "query", "schema": {**one_of(Order), "default": Order.RELEVANCE}},
    *(
        {
            "name": name,
            "in": "query",
            "schema": {"type": "array", "items": _KNOWN.get(name, TEXT)},
            "description": f"{_DESCRIPTIONS[name]} Any of several.",
        }
        for name in FILTERS
    ),
    {"name": "after", "in": "query", "schema": TEXT, "description": "Sessions that started then or later, UTC."},
    {"name": "before", "in": "query", "schema": TEXT, "description": "Sessions that started earlier, UTC."},
    {"name": "cursor", "in": "query", "schema": TEXT, "description": "Of the page before, with the same question."},
]


def search_parameters(hits_max: int) -> list[dict[str, Any]]:
    """What can be asked; a page has `hits_max` hits at most."""
    return [*_PARAMETERS, {"name": "limit", "in": "query", "schema": integer(1, hits_max)}]


def search_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    part = object_of({"text": TEXT, "hit": {"type": "boolean"}})
    hit = object_of(
        {
            "session_id": TEXT,
            "record_id": TEXT,
            "step": {"type": ["integer", "null"], "minimum": 1},
            "type": _TEXT_OR_NULL,
            "tool": _TEXT_OR_NULL,
            "provider": TEXT,
            "model": TEXT,
            "domain": _TEXT_OR_NULL,
            "tier": TEXT,
            "outcome": _TEXT_OR_NULL,
            "contributor": TEXT,
            "started_at": _TEXT_OR_NULL,
            "score": {"type": ["number", "null"]},
            "field": {"enum": ["text", "tool", "arguments", None]},
            "snippet": {"type": "array", "items": part},
        }
    )
    return {
        "Hit": hit,
        "Hits": object_of(
            {
                "mode": one_of(Mode),
                "order": {"enum": [*Order, None]},
                "hits": {"type": "array", "items": {"$ref": "#/components/schemas/Hit"}},
                "cursor": _TEXT_OR_NULL,
                "complete": {"type": "boolean"},
            }
        ),
    }
