"""Reading safetensors files, good and bad."""

import json
from struct import pack
from typing import Any

import pytest

from actors.embedding.safetensors import WeightsError, read_tensors


def file_of(header: Any, body: bytes) -> memoryview:
    """A file with the header and body given."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return memoryview(len(text).to_bytes(8, "little") + text + body)


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    """One tensor's entry in a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_float32_tensors_are_read_and_others_left_out() -> None:
    """With their shapes, whatever their order in the file."""
    body = pack("<3f", 1.0, 2.0, 3.0) + bytes(8)
    header = {
        "__metadata__": {"format": "pt"},
        "b": entry([1], 8, 12),
        "a": entry([2, 1], 0, 8),
        "ids": entry([1], 12, 20, "I64"),
    }
    tensors = read_tensors(file_of(header, body))
    assert set(tensors) == {"a", "b"}
    assert tensors["a"].shape == (2, 1)
    assert bytes(tensors["b"].data) == pack("<f", 3.0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        (2**63).to_bytes(8, "little"),
        (100).to_bytes(8, "little") + b"{}",
        (0).to_bytes(8, "little"),
        bytes(file_of(b"{", b"")),
        bytes(file_of([1], b"")),
        bytes(file_of({"a": 5}, b"")),
        bytes(file_of({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4))),
        bytes(file_of({"a": entry([1], 0, 8)}, bytes(8))),
        bytes(file_of({"a": entry([1], 4, 8)}, bytes(4))),
        bytes(file_of({"a": entry([1], -4, 0)}, bytes(4))),
        bytes(file_of({"a": entry([1], 8, 4)}, bytes(8))),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(content: bytes) -> None:
    """Never an error of another kind."""
    with pytest.raises(WeightsError, match=r"^The weights [^\n]*\.$"):
        read_tensors(memoryview(content))
