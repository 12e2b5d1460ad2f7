"""JSON Schema in fewer words: the few forms that the OpenAPI description is made of."""

from collections.abc import Iterable, Mapping
from typing import Any

from actors.envelopes.schema import COUNT_MAX
from central_command.http.requests.first_bytes import SESSION_ID

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": COUNT_MAX}
SESSION_ID_SCHEMA: Schema = {"type": "string", "pattern": f"^{SESSION_ID.pattern}$"}


def reference(name: str) -> Schema:
    """What stands for the schema `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: object) -> Schema:
    """An object with the named members and any others; `more` are keywords of JSON Schema."""
    found: Schema = {"type": "object", "properties": {**required, **(optional or {})}, **more}
    return {**found, "required": list(required)} if required else found


def one_of(values: Iterable[str]) -> Schema:
    """One of these texts."""
    return {"type": "string", "enum": [str(value) for value in values]}


def integer(low: int, high: int) -> Schema:
    """An integer, both bounds included."""
    return {"type": "integer", "minimum": low, "maximum": high}


def text_of(chars_max: int, *, chars_min: int = 0, **more: object) -> Schema:
    """A text of so many characters."""
    return {"type": "string", **({"minLength": chars_min} if chars_min else {}), "maxLength": chars_max, **more}


def hexadecimal(digits: int) -> Schema:
    """So many hexadecimal digits, of either case."""
    return {"type": "string", "pattern": f"^[0-9a-fA-F]{{{digits}}}$"}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    nullable = {**schema, "type": [schema["type"], "null"]}
    return {**nullable, "enum": [*schema["enum"], None]} if "enum" in schema else nullable


def all_or_null(members: Mapping[str, Schema]) -> dict[str, Schema]:
    """Members that may all be null."""
    return {name: or_null(schema) for name, schema in members.items()}
