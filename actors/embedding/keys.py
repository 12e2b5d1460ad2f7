"""What a text is known by while it is computed and afterwards: itself, or its tokens packed, four bytes each. Pure."""

from array import array
from collections.abc import Sequence
from math import ceil

from actors.embedding.batching import text_cost
from actors.embedding.engine import TokenIds

Key = str | bytes

_TOKEN_BYTES = array("I").itemsize


def packed(tokens: TokenIds) -> bytes:
    """Return tokens as a key: a list of them takes ten times the memory."""
    return array("I", tokens).tobytes()


def unpacked(key: bytes) -> TokenIds:
    """Return the tokens of a key."""
    return array("I", key)


class CostEstimate:
    """What texts cost as far as the tokens of the longest of them tell: the others are taken to be like it."""

    def __init__(self, longest: str, tokens: TokenIds) -> None:
        self._tokens_a_character = len(tokens) / max(1, len(longest))

    def tokens(self, key: Key) -> int:
        """Return how many tokens a text has, or is taken to have."""
        return len(key) // _TOKEN_BYTES if isinstance(key, bytes) else ceil(self._tokens_a_character * len(key))

    def cost(self, keys: Sequence[Key]) -> float:
        """Return what all of these cost together."""
        return sum(text_cost(self.tokens(key)) for key in keys)
