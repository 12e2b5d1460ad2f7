"""Embeddings as search.db holds them: a scale (32 bits, little-endian), then a signed byte for each dimension. Pure.

A dimension is its byte times the scale. Of a vector of length 1 that costs a cosine of less than 0.0001.
"""

import struct
from array import array
from collections.abc import Sequence
from typing import Final

SCALE: Final = struct.Struct("<f")
STEP_MAX: Final = 127


def quantised(vector: Sequence[float]) -> bytes:
    """A vector in a quarter of its bytes."""
    largest = max(map(abs, vector), default=0.0)
    if not largest:
        return SCALE.pack(0.0) + bytes(len(vector))
    factor = STEP_MAX / largest
    return SCALE.pack(largest / STEP_MAX) + array("b", [round(value * factor) for value in vector]).tobytes()
