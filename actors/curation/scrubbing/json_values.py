"""JSON values, scrubbed text by text: never what is serialised, so that scrubbed JSON is JSON."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from actors.curation.scrubbing.spans import WITHHELD

# Ids by which what the protocol says hangs together: a scrubbed one would join nothing any more.
PROTOCOL_IDS = frozenset(
    [
        "id",
        "uuid",
        "parentuuid",
        "parent_uuid",
        "call_id",
        "callid",
        "session_id",
        "sessionid",
        "tool_call_id",
        "toolcallid",
        "tool_use_id",
        "tooluseid",
        "envelope_id",
        "envelopeid",
        "trajectory_id",
        "trajectoryid",
        "chunk_id",
        "chunkid",
        "message_id",
        "messageid",
        "request_id",
        "requestid",
        "response_id",
        "parent_id",
        "parentid",
        "leafuuid",
        "sourcetooluseid",
        "sourcetoolassistantuuid",
        "parenttooluseid",
        "agentid",
        "agent_id",
        "contributor_id",
        "contributorid",
        "trace_id",
        "span_id",
    ]
)
# Names of members that decide what their text means.
_TELLING = re.compile(
    r"(?i)pass|pwd|secret|token|key|credential|ssn|social|phone|mobile|cell|fax|tel|auth|cookie|"
    r"sha|commit|digest|checksum|head|oid|rev|tree|parent"
)
_ID = re.compile(r"[\w.:-]{1,128}")
DEPTH_MAX = 64
_NAME_CHARS_MAX = 64
_NAMES_MAX = 1_024
"""Names of members that are remembered: a few dozen stand in nearly every object."""
_DIGITS_MIN = 9

JSONValue: TypeAlias = "dict[str, JSONValue] | list[JSONValue] | str | int | float | None"
Scrub = Callable[[str, str], str]


def scrubbed(value: JSONValue, scrub: Scrub) -> JSONValue:
    """The value with `scrub(name of its member, text)` in place of each text; deeper than 64 levels it is withheld."""
    return _value(value, scrub, "", 0, numbers=False)


def _value(value: JSONValue, scrub: Scrub, name: str, depth: int, *, numbers: bool) -> JSONValue:
    if isinstance(value, str):
        return _text(value, scrub, name, depth)
    if isinstance(value, dict | list) and depth >= DEPTH_MAX:
        return WITHHELD
    if isinstance(value, dict):
        return {
            key: each if _is_id(key, each) else _value(each, scrub, str(key), depth + 1, numbers=numbers)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_value(each, scrub, name, depth + 1, numbers=numbers) for each in value]
    if numbers and type(value) is int and value >= 10**_DIGITS_MIN // 10:
        digits = str(value)
        return value if (after := scrub(_telling(name), digits)) == digits else after
    return value


def _is_id(key: str, value: JSONValue) -> bool:
    return isinstance(value, str) and str(key).lower() in PROTOCOL_IDS and _ID.fullmatch(value) is not None


def _telling(name: str) -> str:
    return _told(name[:_NAME_CHARS_MAX]) if name else ""


@lru_cache(maxsize=_NAMES_MAX)
def _told(name: str) -> str:
    return name if _TELLING.search(name) else ""


def _text(text: str, scrub: Scrub, name: str, depth: int) -> str:
    inner = _parsed(text)
    if inner is None:
        return scrub(_telling(name), text)
    after = _value(inner, scrub, name, depth + 1, numbers=True)
    if after == inner:
        return text
    compact = ": " not in text and ", " not in text
    separators = (",", ":") if compact else (", ", ": ")
    return json.dumps(
        after, ensure_ascii=text.isascii(), separators=separators, indent=2 if "\n" in text.strip() else None
    )


def _parsed(text: str) -> JSONValue:
    """The object or array that a text is the JSON of, or None."""
    start = text.lstrip()[:1]
    if start not in ("{", "[") or start == "":
        return None
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) else None
