"""One text on its way to its embedding, whoever asked for it."""

import trio

from actors.embedding.batching import text_cost
from actors.embedding.embedding import Embedding, Unavailable
from actors.embedding.engine import TokenIds


class Computation:
    """One text, or its tokens packed.

    `cost` is that of `length` tokens until it is tokenised; `is_taken` when a batch took it.
    """

    __slots__ = ("_settled", "cost", "is_taken", "outcome", "text", "tokens")

    def __init__(self, text: str | bytes, length: int) -> None:
        self.text = text
        self.cost = text_cost(length)
        self.tokens: TokenIds | None = None
        self.is_taken = False
        self.outcome: Embedding | Unavailable | None = None
        self._settled = trio.Event()

    def __repr__(self) -> str:
        state = "settled" if self.outcome is not None else "taken" if self.is_taken else "waiting"
        what = "characters" if isinstance(self.text, str) else "bytes of tokens"
        return f"<Computation of {len(self.text)} {what}, {state}>"

    def tokenised(self, tokens: TokenIds) -> None:
        """Its tokens are known, and so what it costs."""
        self.tokens = tokens
        self.cost = text_cost(len(tokens))

    def settle(self, outcome: Embedding | Unavailable) -> None:
        """Answer everybody who waits for it."""
        self.outcome = outcome
        self._settled.set()

    async def wait(self) -> Embedding | Unavailable:
        """Return its outcome once it has one."""
        await self._settled.wait()
        assert self.outcome is not None
        return self.outcome
