"""What computes embeddings: the protocol that the nursery drives. Its methods block, but for `stop`."""

from collections.abc import Callable, Sequence
from typing import Protocol

TokenIds = Sequence[int]


class ModelError(Exception):
    """The model cannot be loaded; the text is one sentence for the operator."""


class UnknownTokenError(Exception):
    """A token that the model's tokeniser gives to no text."""

    def __init__(self, token: int) -> None:
        super().__init__(str(token))
        self.token = token


class Engine(Protocol):
    """A loaded model. One batch at a time; `tokenise` may be called meanwhile, from another thread."""

    def tokenise(self, text: str) -> TokenIds:
        """Return the text's tokens, with those that mark its ends, at most `TEXT_TOKENS_MAX`. Takes microseconds."""
        ...

    def with_ends(self, tokens: TokenIds) -> TokenIds:
        """Return tokens as `tokenise` would, with those that mark the ends (which may be there already), and cut.

        Raises UnknownTokenError for one that `tokenise` never returns: what it stands for, the model has not learnt.
        """
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
