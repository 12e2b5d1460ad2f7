"""Which of many keys are certainly in no table, told from memory. Pure.

A Bloom filter (Bloom 1970) of keys that are chance already, as fingerprints are: two places of a key are bits of its
own. So it may take a key for known that is not, and never the other way round.
"""

from collections.abc import Iterable
from typing import Final

BITS_PER_KEY: Final = 12
"""So full, a filter takes a key in 42 for known that is not; at a tenth of that, one in 3,600."""

SECOND_PLACE: Final = 32
"""Where in a key its second place begins."""

_OF_BYTE: Final = tuple(1 << bit for bit in range(8))


class KeyFilter:
    """The keys that were added, of 64 bits each, signed; `size_bytes` is a power of two up to 2^29."""

    def __init__(self, size_bytes: int) -> None:
        assert size_bytes.bit_count() == 1
        self._bits = bytearray(size_bytes)
        self._mask = 8 * size_bytes - 1

    def __repr__(self) -> str:
        return f"<KeyFilter {len(self._bits)} bytes>"

    @property
    def keys_max(self) -> int:
        """With more keys it tells too few apart to be worth its while."""
        return 8 * len(self._bits) // BITS_PER_KEY

    def add(self, keys: Iterable[int]) -> None:
        """Take in keys."""
        bits, mask, of_byte = self._bits, self._mask, _OF_BYTE
        for key in keys:
            first, second = key & mask, key >> SECOND_PLACE & mask
            bits[first >> 3] |= of_byte[first & 7]
            bits[second >> 3] |= of_byte[second & 7]

    def perhaps(self, keys: Iterable[int]) -> list[int]:
        """Those that may have been added; all others were not."""
        bits, mask = self._bits, self._mask
        return [
            key
            for key in keys
            if bits[(key & mask) >> 3] >> (key & 7) & 1
            and bits[(second := key >> SECOND_PLACE & mask) >> 3] >> (second & 7) & 1
        ]
