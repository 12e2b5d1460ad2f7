"""Rows made ready to be written, by their format: as lines of JSON, or as the values of columns. Pure.

It takes no pyarrow: a process that only shapes rows (`central_command.exporting.worker`) has no use for it.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from central_command.exporting.formats.format import Format
from central_command.exporting.shape import Row, Shape

PARQUET: Final = "parquet"
"""The ending of files with columns."""
FLAT_BYTES: Final = 16
"""What a flat value counts for, about, beside its text."""
LENGTHS: Final = "i"
"""Lengths of texts, as Arrow has them: 32 bits, with a sign."""
TEXT: Final = "text"

encode = msgspec.json.Encoder().encode
encode_lines = msgspec.json.Encoder().encode_lines

Kind = str | list[Any] | dict[str, Any]
"""What a struct holds: `TEXT`, a list of one kind, or members by their names."""


class Prepared(msgspec.Struct, frozen=True, array_like=True):
    """A trajectory's rows, ready to be written: each as JSON text, or as the values of its columns."""

    rows: list[Any]
    size_bytes: int


Preparing = Callable[[Sequence[Row | msgspec.Raw]], Prepared]


def preparing(known: Format, shape: Shape) -> Preparing:
    """What makes rows of a format ready to be written."""
    return Columns(known, shape).prepared if known.ending == PARQUET else as_lines


def as_lines(rows: Iterable[Row | msgspec.Raw]) -> Prepared:
    """Make lines of rows."""
    lines = [encode(row) + b"\n" for row in rows]
    return Prepared(lines, sum(map(len, lines)))


class Columns:
    """The columns of a format."""

    def __init__(self, known: Format, shape: Shape) -> None:
        self._columns = [ColumnValues(name, declared, shape) for name, declared in known.features]

    def prepared(self, rows: Iterable[Row | msgspec.Raw]) -> Prepared:
        """Make values of rows, each in the order of the columns."""
        prepared = []
        size_bytes = 0
        for row in rows:
            assert isinstance(row, dict), "a format with columns gives dicts"
            values: list[Any] = []
            for column in self._columns:
                value = row.get(column.name)
                if column.is_flat:  # most are: at once, and as `ColumnValues.prepared` says
                    size_bytes += FLAT_BYTES + (len(value) if isinstance(value, str) else 0)
                else:
                    value, value_bytes = column.prepared(value)
                    size_bytes += value_bytes
                values.append(value)
            prepared.append(values)
        return Prepared(prepared, size_bytes)


class ColumnValues:
    """One column: its name, what it holds, and how values of rows are made ready for it."""

    def __init__(self, name: str, declared: str, shape: Shape) -> None:
        self.name = name
        self.is_list = declared.startswith("list:")
        self.item = declared.removeprefix("list:").strip()
        self.struct = structs_of(shape.reasoning_key).get(name) if shape.nested == "struct" else None
        self.is_flat = not self.is_list and self.item != "json" and self.struct is None
        self.is_list_of_json = self.is_list and self.item == "json" and self.struct is None

    def prepared(self, value: object) -> tuple[Any, int]:
        """A value as its column takes it, and about how many bytes it takes.

        A list of JSON is the lengths of its texts and the texts, both in one.
        """
        if value is None:
            return None, FLAT_BYTES
        if self.is_list and isinstance(value, list):
            if self.is_list_of_json:
                texts = encode_lines(value).split(b"\n")  # within a text of JSON there is none
                texts.pop()
                joined = b"".join(texts)
                lengths = array(LENGTHS, map(len, texts)).tobytes()
                return (lengths, joined), len(joined) + max(1, len(texts)) + 1  # with commas and brackets
            pairs = [self._one(item) for item in value]
            return [one for one, _ in pairs], sum(size for _, size in pairs) + FLAT_BYTES
        return self._one(value)

    def _one(self, value: object) -> tuple[Any, int]:
        if self.struct is not None:
            return as_struct(value, self.struct), len(encode(value))
        if self.item == "json":
            text = encode(value)
            return text, len(text)
        return value, FLAT_BYTES + (len(value) if isinstance(value, str) else 0)


def structs_of(reasoning_key: str) -> Mapping[str, Kind]:
    """The members of messages and of tools, as structs."""
    call = {"id": TEXT, "type": TEXT, "function": {"name": TEXT, "arguments": TEXT}}
    message = {"role": TEXT, "content": TEXT, reasoning_key: TEXT, "tool_calls": [call]}
    message |= {"tool_call_id": TEXT, "name": TEXT}
    tool = {"name": TEXT, "description": TEXT, "parameters": TEXT}
    return {
        **dict.fromkeys(("messages", "prompt", "completion", "chosen", "rejected"), message),
        "tools": {"type": TEXT, "function": tool},
    }


def as_struct(value: Any, kind: Kind) -> Any:  # noqa: ANN401 (JSON in, and out)
    """A value with the members of a struct; where it has an object and the struct a text, that is its JSON."""
    if isinstance(kind, dict) and isinstance(value, dict):
        return {name: as_struct(value.get(name), member) for name, member in kind.items()}
    if isinstance(kind, list) and isinstance(value, list):
        return [as_struct(each, kind[0]) for each in value]
    if kind == TEXT and value is not None and not isinstance(value, str):
        return encode(value).decode()
    return value
