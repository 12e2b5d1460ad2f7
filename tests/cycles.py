"""Finds objects that ended as a cycle, which only the collector of garbage can free."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def counted_cycles() -> Iterator[Counter[str]]:
    """Count, by name of their type or function, the objects that the block leaves behind in cycles; it has run once.

    What happens for the first time makes cycles that stay few (types, caches): run it before, too.
    """
    found: Counter[str] = Counter()
    was_enabled = gc.isenabled()
    gc.disable()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.update(_name(each) for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        if was_enabled:
            gc.enable()


def _name(found: object) -> str:
    name = getattr(found, "__qualname__", None)
    return name if isinstance(name, str) else type(found).__qualname__
