"""The safetensors format: eight bytes with the header's length, a JSON header, then the tensors' bytes.

Source: https://huggingface.co/docs/safetensors, "Format". Only float32 is read; other tensors are left out.
"""

from math import prod
from typing import Annotated

import msgspec

HEADER_BYTES_MAX = 10_000_000

_LENGTH_BYTES = 8
_FLOAT32_BYTES = 4


class WeightsError(Exception):
    """The weights are not what the model needs; the text is one sentence."""


class Tensor(msgspec.Struct, frozen=True):
    """A float32 tensor, little-endian, row by row."""

    shape: tuple[int, ...]
    data: memoryview


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    data_offsets: tuple[int, int]


def read_tensors(content: memoryview) -> dict[str, Tensor]:
    """Return the float32 tensors by name, without copying them; raises WeightsError."""
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if len(content) < _LENGTH_BYTES or not 2 <= length <= min(HEADER_BYTES_MAX, len(content) - _LENGTH_BYTES):
        raise WeightsError("The weights are not in the safetensors format: the header's length is wrong.")
    body = content[_LENGTH_BYTES + length :]
    try:
        members = msgspec.json.decode(content[_LENGTH_BYTES : _LENGTH_BYTES + length], type=dict[str, msgspec.Raw])
        members.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in members.items()}
    except msgspec.DecodeError as error:
        raise WeightsError(f"The weights are not in the safetensors format: {error}.") from None
    return {name: _tensor(name, entry, body) for name, entry in entries.items() if entry.dtype == "F32"}


def _tensor(name: str, entry: _Entry, body: memoryview) -> Tensor:
    begin, end = entry.data_offsets
    if not 0 <= begin <= end <= len(body) or end - begin != prod(entry.shape) * _FLOAT32_BYTES:
        raise WeightsError(f"The weights are damaged: the place of {name} does not match its shape.")
    return Tensor(entry.shape, body[begin:end])
