"""What computes embeddings: the protocol that the nursery drives. Its methods block, but for `stop`."""

from collections.abc import Callable, Sequence
from typing import Protocol

TokenIds = Sequence[int]


class ModelError(Exception):
    """The model cannot be loaded; the text is one sentence for the operator."""


class Engine(Protocol):
    """A loaded model. One batch at a time; `tokenise` may be called meanwhile, from another thread."""

    def tokenise(self, text: str) -> TokenIds:
        """Return the text's tokens, with those that mark its ends, at most `TEXT_TOKENS_MAX`. Takes microseconds."""
        ...

    def run(self, rows: Sequence[Sequence[TokenIds]], width: int) -> list[bytes]:
        """Return each text's unit vector as little-endian float32, row by row.

        The texts of a row lie one after the other and take at most `width` tokens together.
        """
        ...

    def stop(self) -> None:
        """Ask the batch that is running to end soon, with an exception. Called from another thread."""
        ...


IsStopping = Callable[[], bool]
"""Whether the work under way is no longer wanted; asked between its steps."""

LoadEngine = Callable[[IsStopping], Engine]
"""Loads the model, in a thread; raises ModelError."""
