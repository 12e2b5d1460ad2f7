"""The JSON text that ECMAScript would write: `JSON.stringify(JSON.parse(text))`, byte for byte.

A client signs what its JSON.stringify wrote. When a body was written anew on its way (indented, escaped, reordered),
this finds the signed text again. What differs from Python's json (ECMA-262: Number::toString, OrdinaryOwnPropertyKeys,
QuoteJSONString):

- Every number is a double. It is written with the fewest digits that read back as the same double, without an exponent
  from 1e-6 up to below 1e21, and as null when it is infinite.
- Members whose names are array indices (0 to 2**32 - 2, without leading zeros) come first, in ascending order; the
  others follow in the order in which they first occurred. The last value of a repeated name counts.
- Lone surrogates are written as escapes in lower case; all else beyond ASCII as it is.
"""

import json
import math
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import NoReturn, TypeAlias

_ARRAY_INDEX_MAX = 2**32 - 2
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_EXACT_DIGITS_MAX = 15
"""A double holds every integer of so many digits: its text needs no rounding."""


class _Number(str):
    """A number as ECMAScript writes it: a type of its own, so that writing can tell it from text."""

    __slots__ = ()


_Value: TypeAlias = "_Number | str | bool | list[_Value] | dict[str, _Value] | None"


class RepeatedNameError(ValueError):
    """A name occurs twice in one object: what the text says depends on who reads it."""


def canonicalise(text: bytes, *, without: str | None = None, names_once: bool = False) -> bytes:
    """Write `text` as ECMAScript's `JSON.stringify(JSON.parse(text))` would, in UTF-8.

    `without` names a member to leave out if the text is an object; with `names_once` a text in which an object has two
    members of one name raises RepeatedNameError. The time is linear in the length of the text, at
    several times that of `json.loads`: for the exception, not for every envelope.

    Raises ValueError when the text is not JSON in UTF-8 (NaN and Infinity are none), or when it is nested so deeply
    (some hundred levels) that the stack does not suffice.
    """
    written: list[str] = []
    try:
        value: _Value = (_STRICT_PARSER if names_once else _PARSER).decode(text.decode())
        if without is not None and isinstance(value, dict):
            value.pop(without, None)
        _write(value, written.append)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None
    # What is left of surrogates after parsing is lone: backslashreplace writes ECMAScript's very escape for it.
    return "".join(written).encode("utf-8", "backslashreplace")


def number_text(number: float) -> str:
    """Write a double as ECMAScript's Number::toString does, but null when it is infinite or no number."""
    if not math.isfinite(number):
        return "null"
    # Both write the fewest digits that suffice, the nearest ones if several do; only where the exponent starts differs.
    text = repr(number)
    if 1e-4 <= abs(number) < 1e16:
        return text.removesuffix(".0")
    mantissa, _, exponent = text.removeprefix("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(digits) - len(fraction) + int(exponent or "0")  # Where it stands, counted from the first digit.
    digits = digits.rstrip("0")
    if not digits:
        return "0"  # Minus zero too.
    return ("-" if number < 0 else "") + _with_point(digits, point)


def _with_point(digits: str, point: int) -> str:
    """The steps of Number::toString: `digits` is its s, `point` its n."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{point - 1:+d}"


def _integer(text: str) -> _Number:
    if len(text) <= _EXACT_DIGITS_MAX and text != "-0":
        return _Number(text)
    return _Number(number_text(float(text)))


def _float(text: str) -> _Number:
    return _Number(number_text(float(text)))


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _object(members: list[tuple[str, _Value]]) -> dict[str, _Value]:
    """An object with its members in ECMAScript's order."""
    ordered = dict(members)
    # Nearly all names are ruled out by their first character.
    numeric = [name for name in ordered if "0" <= name[:1] <= "9"]
    if numeric:
        indices = sorted(int(n) for n in numeric if _ARRAY_INDEX.fullmatch(n) and int(n) <= _ARRAY_INDEX_MAX)
        ordered = {**{str(index): ordered[str(index)] for index in indices}, **ordered}
    return ordered


def _object_of_different_names(members: list[tuple[str, _Value]]) -> dict[str, _Value]:
    """As `_object`; raises RepeatedNameError."""
    ordered = _object(members)
    if len(ordered) != len(members):
        raise RepeatedNameError("a name occurs twice in one object")
    return ordered


_PARSER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
)
_STRICT_PARSER = json.JSONDecoder(
    object_pairs_hook=_object_of_different_names, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
)


def _write(value: _Value, write: Callable[[str], object]) -> None:
    """Write `value` in pieces; one frame of the stack for each level."""
    match value:
        case _Number():
            write(value)
        case str():
            write(encode_basestring(value))
        case dict():
            separator = "{"
            for name, member in value.items():
                write(f"{separator}{encode_basestring(name)}:")
                _write(member, write)
                separator = ","
            write("}" if value else "{}")
        case list():
            separator = "["
            for element in value:
                write(separator)
                _write(element, write)
                separator = ","
            write("]" if value else "[]")
        case None:
            write("null")
        case _:
            write("true" if value else "false")
