"""Embeddings by text, or by tokens packed, the least recently used forgotten first, bounded in bytes."""

import sys
from collections import OrderedDict

import msgspec

from actors.embedding.embedding import Embedding

_ENTRY_BYTES = 400
"""What an entry takes besides its text and its vector: objects' headers and its place in the table, rounded up."""


class CacheStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache holds now, and what it answered since the start."""

    entries: int
    bytes: int
    hits: int
    misses: int


class EmbeddingCache:
    """At most `bytes_max` bytes; what does not fit at all is not kept."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str | bytes, Embedding] = OrderedDict()
        self._bytes = self._hits = self._misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, text: str | bytes) -> bool:
        return text in self._entries

    def get(self, text: str | bytes) -> Embedding | None:
        """Return the embedding of `text`, which then counts as used last."""
        found = self._entries.get(text)
        if found is None:
            self._misses += 1
            return None
        self._hits += 1
        self._entries.move_to_end(text)
        return found

    def put(self, text: str | bytes, embedding: Embedding) -> None:
        """Keep an embedding, at the cost of those not used for longest."""
        size = entry_bytes(text, embedding)
        if size > self._bytes_max:
            return
        replaced = self._entries.pop(text, None)
        if replaced is not None:
            self._bytes -= entry_bytes(text, replaced)
        self._entries[text] = embedding
        self._bytes += size
        while self._bytes > self._bytes_max:
            oldest, forgotten = self._entries.popitem(last=False)
            self._bytes -= entry_bytes(oldest, forgotten)

    def statistics(self) -> CacheStatistics:
        """Return the current figures."""
        return CacheStatistics(entries=len(self._entries), bytes=self._bytes, hits=self._hits, misses=self._misses)


def entry_bytes(text: str | bytes, embedding: Embedding) -> int:
    """Return what an entry takes in memory, rounded up."""
    return sys.getsizeof(text) + embedding.size_bytes + _ENTRY_BYTES
