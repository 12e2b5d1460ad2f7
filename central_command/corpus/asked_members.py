"""What was asked for by name as one value of a type, with a sentence where a member does not fit it. Pure."""

import re
from collections.abc import Mapping
from enum import EnumMeta
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")

PATH: Final = re.compile(r" - at `\$\.([a-z_]{1,64}+)[^`]{0,64}+`\Z")
"""Where a decoder says that something is wrong, at the end of what it says."""
SHOWN_CHARS: Final = 60
NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


def read_members(
    members: Mapping[str, Any], kind: type[T], *, names: Mapping[str, str] = NO_NAMES, of_texts: bool = False
) -> T:
    """Members as a value of a struct.

    `names` says how whoever asks calls a member; all others are called as the struct calls them. `of_texts` are members
    of a query string, where texts stand for numbers and flags. Raises ValueError, whose text is one sentence that names
    the member.
    """
    try:
        return msgspec.convert(dict(members), kind, strict=not of_texts)
    except msgspec.ValidationError as error:
        raise ValueError(_sentence(str(error), members, kind, names)) from None


def _sentence(said: str, members: Mapping[str, Any], kind: type, names: Mapping[str, str]) -> str:
    """What the decoder has said, as a sentence; what a type of ours has said is one already."""
    found = PATH.search(said)
    if found is None:
        return f"{said.rstrip('.')}."
    member = found[1]
    types = {field.encode_name: field.type for field in _fields(kind)}
    wanted = _wanted(types[member]) if member in types else "another value"
    value = members.get(member)
    is_shown = isinstance(value, str | bool | int | float) and not isinstance(value, float)
    shown = f"is {_shown(value)}; it " if is_shown else ""
    return f"{names.get(member, member)} {shown}must be {wanted}."


def _shown(value: object) -> str:
    try:
        text = repr(value) if isinstance(value, str) else str(value).lower()
    except ValueError:  # a number of thousands of digits has no text
        return "too large a number"
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _fields(kind: type) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType), "what is asked for by name is a struct"
    return info.fields


def _wanted(kind: inspect.Type) -> str:
    """What a value of a type is, for people."""
    match kind:
        case inspect.UnionType():
            return " or ".join(_wanted(each) for each in kind.types if not isinstance(each, inspect.NoneType))
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case inspect.EnumType() if isinstance(kind.cls, EnumMeta):
            return f"one of {', '.join(str(each.value) for each in kind.cls)}"
        case inspect.IntType():
            return f"a whole number{_bounds(kind)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return "a text"
        case inspect.VarTupleType() | inspect.ListType():
            return "a list of texts"
        case _:
            return "another value"


def _bounds(kind: inspect.IntType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    return f" from {kind.ge}" if kind.ge is not None else ""
