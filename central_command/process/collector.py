"""When garbage is looked for: often and little, by the event loop itself, instead of whenever so many objects are made.

Theory of operation. Nearly all objects end when nobody refers to them any more. The collector is there for cycles, and
holds every thread up while it looks for them, about a microsecond an object that it looks at. The interpreter begins
when so many more objects were made than ended. That count says little about how much there is to be looked at: while
thousands of sessions come and as many go, it stands still, and what has come is not looked at for minutes, until one
collection takes half a second. Every older generation takes longer still.

So the interpreter's own collections are off. Instead what was made since the last time is looked at every `interval_s`,
which is a few thousand objects at the highest rates. What is in use then is not looked at again: sessions, connections
and waiting lines may be hundreds of thousands of objects. That is safe as long as what lives for longer than that ends
without a cycle, and tests hold it to that: every kind of request, every end of a connection
(tests/central_command/http/connections/test_cycles.py), of a session and of its actors (tests/actors/sessions). Should
it not hold somewhere, memory is still bounded: once `uncollected_blocks_max` more blocks are in use than after the last
full collection, there is another one. An active session is 77 blocks, of which 40 are objects that it looks at.

Rejected: a higher threshold (fewer pauses, longer ones); a full collection whenever nothing is being answered (the next
request waits for it); freezing what was looked at (`gc.freeze`), which is no cheaper than never looking at the oldest
generation, and would let the full collection miss it.
"""

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import msgspec
import trio

SELDOM: Final = 50_000
"""Objects that are made, beside those that end, before the interpreter looks for garbage where it does so seldom."""

log = logging.getLogger("central_command.service")

RECENT: Final = 1
"""The generation that holds, with the one below it, what was made since it was last collected."""


class CollectorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often what is new is looked at, and how much may go unlooked at."""

    interval_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.1
    uncollected_blocks_max: Annotated[int, msgspec.Meta(ge=100_000)] = 1_000_000


class CollectorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures since the start: full collections, and blocks in use beyond those after the last of them."""

    full_collections: int
    uncollected_blocks: int


class Collector:
    """Collects garbage while `run` runs."""

    def __init__(self, settings: CollectorSettings) -> None:
        self._settings = settings
        self._full_collections = 0
        self._blocks_after_full = sys.getallocatedblocks()

    def __repr__(self) -> str:
        return f"<Collector full_collections={self._full_collections}>"

    def settle(self) -> None:
        """Collect everything, and never look again at what is left: what starting made stays for good."""
        gc.collect()
        gc.freeze()
        self._blocks_after_full = sys.getallocatedblocks()

    async def run(self) -> None:
        """Collect until cancelled; meanwhile the interpreter does not."""
        gc.disable()
        try:
            while True:
                await trio.sleep(self._settings.interval_s)
                self.collect()
        finally:
            gc.enable()

    def collect(self) -> None:
        """Look at what was made since the last time; at everything, once too much has gone unlooked at."""
        if self.statistics().uncollected_blocks <= self._settings.uncollected_blocks_max:
            gc.collect(RECENT)
            return
        gc.collect()
        self._full_collections += 1
        self._blocks_after_full = sys.getallocatedblocks()
        log.info("all objects were looked at for garbage; %d blocks are in use", self._blocks_after_full)

    def statistics(self) -> CollectorStatistics:
        """Return the current figures."""
        return CollectorStatistics(
            full_collections=self._full_collections,
            uncollected_blocks=sys.getallocatedblocks() - self._blocks_after_full,
        )


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Look at nothing that was made before the block, and seldom at what is made in it: for a command that makes and
    drops many objects in which there are no cycles.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
