"""How many bytes of session files are read at once: some of them are in memory as a whole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class ByteBudget:
    """Lets in so many bytes at once: what is larger than the whole budget comes in alone."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0
        self._changed = trio.Condition()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait for room, and take it for as long as the block lasts."""
        size = min(size, self._bytes_max)
        async with self._changed:
            while self._held + size > self._bytes_max:
                await self._changed.wait()
            self._held += size
        try:
            yield
        finally:
            self._held -= size
            with trio.CancelScope(shield=True):
                async with self._changed:
                    self._changed.notify_all()
