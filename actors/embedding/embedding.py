"""An embedding, and what can come of asking for some."""

from enum import StrEnum
from struct import unpack

import msgspec

Input = str | tuple[int, ...]
"""A text, or the tokens of one, of this model's own vocabulary and without those that mark its ends."""

DIMENSIONS = 384
"""Numbers of one embedding."""

EMBEDDING_BYTES = DIMENSIONS * 4

_JSON_BYTES_ESTIMATE = DIMENSIONS * 14
# Nine significant digits give every float32 back exactly (IEEE 754, section 5.12.2).
_JSON_FORMAT = "[" + ",".join(["%.9g"] * DIMENSIONS) + "]"


class Embedding:
    """One text's unit vector, and how many tokens it was made from."""

    __slots__ = ("_json", "float32", "tokens")

    def __init__(self, float32: bytes, tokens: int) -> None:
        assert len(float32) == EMBEDDING_BYTES
        self.float32 = float32
        self.tokens = tokens
        self._json: bytes | None = None

    def __repr__(self) -> str:
        return f"<Embedding of {self.tokens} tokens>"

    @property
    def json(self) -> bytes:
        """The vector as a JSON array. Written once, when first asked for: it takes 50 microseconds."""
        if self._json is None:
            self._json = (_JSON_FORMAT % unpack(f"<{DIMENSIONS}f", self.float32)).encode()
        return self._json

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, its JSON text included whether or not it is there yet."""
        return len(self.float32) + _JSON_BYTES_ESTIMATE


class Embedded(msgspec.Struct, frozen=True):
    """The embeddings of the texts asked for, in their order.

    `computed` texts took the engine's time because of this request; the others were known, or under way already.
    """

    embeddings: tuple[Embedding, ...]
    computed: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of all of them together."""
        return sum(embedding.tokens for embedding in self.embeddings)


class UnavailableReason(StrEnum):
    """Why there are no embeddings now; each may pass."""

    LOADING = "loading"
    NO_MODEL = "no_model"
    QUEUE_FULL = "queue_full"
    NO_TIME = "no_time"
    ENGINE_FAILED = "engine_failed"
    TIMED_OUT = "timed_out"
    SHUTTING_DOWN = "shutting_down"


class Unavailable(msgspec.Struct, frozen=True):
    """None of the texts asked for was embedded; `retry_after_s` when it is known how soon they could be."""

    reason: UnavailableReason
    retry_after_s: int | None = None


class UnknownToken(msgspec.Struct, frozen=True):
    """The tokens at `index` of the list hold one that this model's tokeniser gives to no text."""

    index: int
    token: int


EmbedOutcome = Embedded | Unavailable | UnknownToken
