"""The cache: least recently used, bounded in bytes."""

from hypothesis import given
from hypothesis import strategies as st

from actors.embedding.cache import EmbeddingCache, entry_bytes
from actors.embedding.embedding import EMBEDDING_BYTES, Embedding

EMBEDDING = Embedding(bytes(EMBEDDING_BYTES), 3)
ENTRY = entry_bytes("a", EMBEDDING)


def test_the_least_recently_used_goes_first() -> None:
    """Asking for a text counts as using it."""
    cache = EmbeddingCache(ENTRY * 2)
    cache.put("a", EMBEDDING)
    cache.put("b", EMBEDDING)
    assert cache.get("a") is EMBEDDING
    cache.put("c", EMBEDDING)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (EMBEDDING, None, EMBEDDING)


@given(st.lists(st.text(max_size=600)), st.integers(0, 60_000))
def test_the_bytes_held_never_pass_the_bound(texts: list[str], bytes_max: int) -> None:
    """Long texts and texts of wide characters take more, and the count is exact."""
    cache = EmbeddingCache(bytes_max)
    for text in texts:
        cache.put(text, EMBEDDING)
        assert cache.statistics().bytes <= bytes_max
    kept = [text for text in dict.fromkeys(texts) if cache.get(text) is not None]
    assert cache.statistics().bytes == sum(entry_bytes(text, EMBEDDING) for text in kept)


def test_what_cannot_fit_is_not_kept_and_costs_nobody_their_place() -> None:
    """With a bound of 0 the cache is off."""
    cache = EmbeddingCache(ENTRY)
    cache.put("a", EMBEDDING)
    cache.put("a" * ENTRY, EMBEDDING)
    assert (len(cache), cache.get("a")) == (1, EMBEDDING)
    off = EmbeddingCache(0)
    off.put("a", EMBEDDING)
    assert len(off) == 0


def test_a_text_put_twice_is_counted_once() -> None:
    """The later one counts."""
    cache = EmbeddingCache(ENTRY * 5)
    cache.put("a", EMBEDDING)
    cache.put("a", EMBEDDING)
    assert (len(cache), cache.statistics().bytes) == (1, ENTRY)


def test_the_statistics_count_hits_and_misses() -> None:
    """Both since the start."""
    cache = EmbeddingCache(ENTRY)
    cache.get("a")
    cache.put("a", EMBEDDING)
    cache.get("a")
    assert (cache.statistics().hits, cache.statistics().misses) == (1, 1)


def test_an_entry_is_charged_at_least_its_vector_and_its_json_text() -> None:
    """The JSON text of the widest numbers is within the estimate."""
    widest = Embedding(b"\xcc\xcc\xcc\xbd" * 384, 3)
    assert len(widest.json) + len(widest.float32) <= widest.size_bytes
