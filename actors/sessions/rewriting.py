"""Bodies written anew for their HMAC, as ECMAScript would write them: slow, and open to who knows a session's id."""

from typing import Protocol

import trio

from actors.envelopes.attestation import canonical_text
from persistence.files.file_system import Offload


class Rewriter(Protocol):
    """Writes bodies anew, one at a time."""

    async def text_of(self, body: bytes) -> bytes | None:
        """See `attestation.canonical_text`."""


class OffloadedRewriter:
    """Writes them off the event loop, by this process."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._at_once = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<OffloadedRewriter {self._at_once.borrowed_tokens} of 1>"

    async def text_of(self, body: bytes) -> bytes | None:
        """See Rewriter."""
        async with self._at_once:
            return await self._offload(canonical_text, body)
