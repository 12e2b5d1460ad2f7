"""What a session is about, as an embedding: that of the text which stands for it when its fields are told."""

import struct
from collections.abc import Sequence

from actors.curation.fields import embedded_text
from actors.curation.stitched import read_stitched
from actors.embedding.engine import Engine
from persistence.format.quantised_vectors import quantised


def embedding_of(text: str, engine: Engine) -> Sequence[float]:
    """The embedding of one text; it blocks for as long as that takes."""
    tokens = engine.tokenise(text)
    (vector,) = engine.run([[tokens]], len(tokens))
    return struct.unpack(f"<{len(vector) // 4}f", vector)


class SessionEmbedder:
    """Embeds sessions by their records, one after the other; it blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return "<SessionEmbedder>"

    def __call__(self, line: bytes) -> bytes:
        """The embedding of a record's line as search.db holds it; empty where nothing in the session tells.

        Raises msgspec.DecodeError for what is no such line.
        """
        text = embedded_text(read_stitched(line))
        return quantised(embedding_of(text, self._engine)) if text else b""
