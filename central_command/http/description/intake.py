"""The intake in the description: records, what becomes of each, and what users say of consent."""

from typing import Any, Final

from actors.intake.reading import USER_ID, RecordRefusal
from central_command.http.description.json_schema import (
    TEXT,
    Schema,
    hexadecimal,
    integer,
    object_of,
    one_of,
    text_of,
)
from persistence.format.consent_events import Decision
from persistence.format.submitted_texts import CONTENT_TYPES, ID_CHARS_MAX

SECURITY: Final[list[dict[str, list[str]]]] = [{"token": ["intake"]}]

SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Made by `central-command token create`, with the scope that the operation names.",
    }
}

_USER_ID: Schema = {"type": "string", "pattern": USER_ID.pattern.replace("\\A", "^").replace("\\Z", "$")}

USER_PARAMETERS: Final[list[dict[str, Any]]] = [
    {"name": "user_id", "in": "path", "required": True, "schema": _USER_ID},
]


def intake_schemas(current_version: str, records_max: int) -> dict[str, Schema]:
    """Every schema by its name; `current_version` is that of the terms that can be agreed to."""
    version: Schema = {"const": current_version}
    purposes = {"purposes": {"type": "array", "items": TEXT, "description": "All those of the notice."}}
    taken = object_of({"index": integer(0, records_max - 1), "accepted": {"const": True}, "id": hexadecimal(32)})
    refused = object_of(
        {
            "index": integer(0, records_max - 1),
            "accepted": {"const": False},
            "code": one_of(RecordRefusal),
            "reason": TEXT,
        }
    )
    return {
        "IntakeRecord": object_of(
            {
                "user_id": _USER_ID,
                "session_id": text_of(ID_CHARS_MAX, chars_min=1),
                "content": TEXT,
                "content_type": one_of(CONTENT_TYPES),
            },
            {"metadata": {"type": ["object", "null"]}},
            additionalProperties=False,
        ),
        "IntakeResults": object_of(
            {
                "accepted": integer(0, records_max),
                "rejected": integer(0, records_max),
                "results": {"type": "array", "maxItems": records_max, "items": {"anyOf": [taken, refused]}},
            }
        ),
        "SayUserConsent": {
            "anyOf": [
                object_of(
                    {"user_id": _USER_ID, "state": {"const": Decision.GIVEN.value}, "version": version},
                    purposes,
                    additionalProperties=False,
                ),
                object_of(
                    {"user_id": _USER_ID, "state": {"const": Decision.WITHDRAWN.value}},
                    {"version": version, **purposes},
                    additionalProperties=False,
                ),
            ]
        },
    }
