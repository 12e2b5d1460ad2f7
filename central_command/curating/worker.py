"""The curation process: `python -m central_command.curating.worker`, started by the server and by nobody else.

Scrubbing and hashing hold the interpreter's lock for as long as they take, so they have an interpreter of their own. It
is the only one that writes the corpus. It may end at any moment (`persistence.corpus`), so it ends at once when it is
told to, or when the server is gone.
"""

import logging
import os
import sys
import time
from functools import partial

import trio

from actors.curation.following import CurationStatistics
from central_command.curating.opening import open_curation
from central_command.curating.orders import LINE_BYTES_MAX, Order, line_of, read_order
from central_command.process.children import end_with_parent
from central_command.process.logs import logging_to
from central_command.process.piped import ignore_terminal
from persistence.files.failures import DataDirectoryLocked, NoDataDirectory, StorageDamage, StorageFailure

log = logging.getLogger("central_command.curation")

FIGURES_INTERVAL_S = 0.25
"""Figures are written no more often, but for those that say that nothing waits."""

EXIT_FAILED = 1


def main() -> int:
    """Follow until standard input ends; return the exit status."""
    ignore_terminal()
    order = read_order(sys.stdin.buffer.readline(LINE_BYTES_MAX))
    os.nice(order.curation.nice)
    status = 0
    with logging_to(order.log):
        try:
            trio.run(partial(_follow, order))
        except* (DataDirectoryLocked, NoDataDirectory, StorageFailure, StorageDamage) as failed:
            status = EXIT_FAILED
            for error in failed.exceptions:
                log.error("curation: %s", error)  # noqa: TRY400 (the sentence says it all)
    return status


async def _follow(order: Order) -> None:
    with trio.CancelScope() as scope:
        token = trio.lowlevel.current_trio_token()
        # A record that takes longer than that is given up.
        end_with_parent(partial(token.run_sync_soon, scope.cancel), order.curation.stop_grace_s)
        async with open_curation(order, Figures().write) as curating, trio.open_nursery() as nursery:
            nursery.start_soon(curating.curation.run)
            if curating.asking is not None:
                nursery.start_soon(curating.asking.run)
            if curating.indexing is not None:
                nursery.start_soon(curating.indexing.run)


class Figures:
    """Writes figures to standard output."""

    def __init__(self) -> None:
        self._written_at = 0.0

    def write(self, figures: CurationStatistics) -> None:
        """Write them: always that nothing waits, and else if it is time to."""
        now = time.monotonic()
        if now - self._written_at < FIGURES_INTERVAL_S and figures.waiting_since is not None:
            return
        self._written_at = now
        sys.stdout.buffer.write(line_of(figures))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
