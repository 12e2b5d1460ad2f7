"""What a JSON value may be, and of one that is not, in one sentence where it is wrong.

A rule is a type that msgspec checks while it decodes, in C, and the words that say what it allows. Only a body that
was refused is looked at again, to quote what was found.
"""

import re
from collections.abc import Iterable, Mapping
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from persistence.format import json_text

_QUOTED_CHARS_MAX = 60


class Rule(msgspec.Struct, frozen=True):
    """What a value may be: the type that msgspec checks, the words for it, and the rules of what it holds."""

    type: Any
    allowed: str
    members: Mapping[str, "Rule"] = {}
    item: "Rule | None" = None


def object_of(
    name: str, required: Mapping[str, Rule], optional: Mapping[str, Rule], *, only: Mapping[str, Any] | None = None
) -> Rule:
    """An object with the named members and any others; an optional one may be absent.

    With `only` there may be no others but those that it names, with their types.
    """
    fields: list[Any] = [(member, rule.type) for member, rule in required.items()]
    fields += [(member, rule.type, None) for member, rule in optional.items()]
    fields += [(member, type_, None) for member, type_ in (only or {}).items()]
    # Trees without cycles, dropped at once: the cyclic garbage collector need not track them.
    struct = msgspec.defstruct(name, fields, frozen=True, gc=False, forbid_unknown_fields=only is not None)
    return Rule(struct, "an object", {**required, **optional})


def list_of(item: Rule, allowed: str, *, length_min: int = 0, length_max: int | None = None) -> Rule:
    """A list of so many items, in words `allowed`."""
    return Rule(
        Annotated[GenericAlias(list, (item.type,)), Meta(min_length=length_min, max_length=length_max)],
        allowed,
        item=item,
    )


def or_null(rule: Rule) -> Rule:
    """What the rule allows, and null."""
    return Rule(rule.type | None, f"{rule.allowed}, or null", rule.members, rule.item)


def integer(low: int, high: int) -> Rule:
    """An integer, both bounds included."""
    return Rule(Annotated[int, Meta(ge=low, le=high)], f"an integer from {low} to {high}")


def text_of(chars_max: int) -> Rule:
    """A text of at most so many Unicode code points."""
    return Rule(Annotated[str, Meta(max_length=chars_max)], f"a text of at most {chars_max} characters")


def hexadecimal(digits: int) -> Rule:
    """So many hexadecimal digits, of either case."""
    return Rule(Annotated[str, Meta(pattern=rf"^[0-9a-fA-F]{{{digits}}}\Z")], f"{digits} hexadecimal digits")


def one_of(values: Iterable[str]) -> Rule:
    """One of these texts."""
    # One string at a time would be a new type each; a tuple as the subscript is Literal's way of several.
    return Rule(Literal[tuple(values)], "one of " + ", ".join(values))


ANY_TEXT = Rule(str, "a text")
NUMBER = Rule(float, "a finite number")
SHARE = Rule(Annotated[float, Meta(ge=0, le=1)], "a number from 0 to 1")
BOOLEAN = Rule(bool, "true or false")


# A refused body: where the fault is, what is there and what may be there.

Path = tuple[str | int, ...]
"""The names of members and the numbers of items that lead to a value."""

_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_ERROR_PATH = re.compile(r" - at `\$([^`]*)`\Z")
_ERROR_MISSING = re.compile(r"\AObject missing required field `(\w+)`")
_PATH_PART = re.compile(r"\.(\w+)|\[(\d+)\]")


def path_of(error: str) -> Path:
    """The path in msgspec's message, such as "Expected `int` - at `$.trajectory_log[3].step`"."""
    path: list[str | int] = []
    if at := _ERROR_PATH.search(error):
        path += [int(index) if index else name for name, index in _PATH_PART.findall(at[1])]
    if missing := _ERROR_MISSING.search(error):
        path.append(missing[1])
    return tuple(path)


def fault_at(path: Path, body: bytes, rule: Rule) -> str:
    """What is wrong at `path` of a body that the rule is for, in one sentence: where, what is there, what may be."""
    for part in path:
        inner = rule.item if isinstance(part, int) else rule.members.get(part)
        assert inner is not None, "msgspec names only members and items that have rules"
        rule = inner
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return f"{named or 'The envelope'} is {_found(body, path)}; it must be {rule.allowed}."


def _found(body: bytes, path: Path) -> str:
    """What stands at `path`, in a few words; of a member that occurs twice, the last."""
    value = body
    try:
        for part in path:
            if isinstance(part, int):
                value = bytes(json_text.decode(_RAW_ITEMS, value)[part])
            else:
                members = json_text.decode(_RAW_MEMBERS, value)
                if part not in members:
                    return "missing"
                value = bytes(members[part])
        return _described(value)
    except (msgspec.DecodeError, IndexError):
        # Only a member that occurs twice leads here: the fault is in its first value, which JSON's readers ignore.
        return "there twice"


def _described(value: bytes) -> str:
    """A JSON value in a few words, at most 60 characters of them its own."""
    match value[:1]:
        case b"{":
            return "an object"
        case b"[":
            return f"a list of {len(json_text.decode(_RAW_ITEMS, value))}"
        case b'"':
            return quoted(json_text.decode(_TEXT, value))
        case _ if len(value) > _QUOTED_CHARS_MAX:
            return f"a number of {len(value)} characters"
        case _:
            return value.decode()


def quoted(text: str) -> str:
    """The text as JSON writes it; of a long one its length."""
    as_json = msgspec.json.encode(text.encode(errors="replace").decode()).decode()
    return as_json if len(as_json) <= _QUOTED_CHARS_MAX else f"a text of {len(text)} characters"
