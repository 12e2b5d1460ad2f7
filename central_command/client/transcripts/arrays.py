"""The beginning of a file that is one array of objects, or one object, before all of it is read."""

import json
import re

from central_command.client.contract.steps import JsonObject

_BEGINNING = re.compile(r"\A\s*+\[\s*+(?=\{)")
_OBJECT = re.compile(r"\A\s*+(?=\{)")
_BETWEEN = re.compile(r"(?<!\s)\s*+,\s*+(?=\{)")
_DECODER = json.JSONDecoder()


def begins_as_array(text: str) -> bool:
    """Whether a file that begins like this is an array of objects."""
    return bool(_BEGINNING.match(text))


def first_objects(text: str, count: int) -> tuple[JsonObject, ...]:
    """The first objects, `count` at most, of an array of which `text` is the beginning, as far as they are whole.

    Of a text that begins with an object, that one.
    """
    found: list[JsonObject] = []
    place = _BEGINNING.match(text) or _OBJECT.match(text)
    while place and len(found) < count:
        try:
            value, end = _DECODER.raw_decode(text, place.end())
        except (ValueError, RecursionError):
            break
        found.append(value)
        place = _BETWEEN.match(text, end)
    return tuple(found)
