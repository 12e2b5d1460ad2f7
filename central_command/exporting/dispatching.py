"""Rows shaped by processes beside the export, so that more than one processor does (`worker`).

Records go to them in batches, turn by turn, and come back in the order in which they went: so what is written does not
depend on how many there are. What is a copy of what was kept before is decided where it is written, and in order; a
record that is known to be one is not sent. Each process has at most `AHEAD` batches before it, and a pipe behind it,
which bounds memory.

They are started anew, never forked: an export may have threads, and a fork would have their locks. Their input ends
when the export does, however that ends, and so do they.
"""

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import cycle
from typing import Final

from central_command.exporting.orders import Failed, Order, decode_answer, encode
from central_command.exporting.plan import Candidate
from central_command.exporting.selection import ExportRefused
from central_command.exporting.shaped import Shapes
from central_command.process.children import PipedProcess
from central_command.process.piped import receive, send
from persistence.files.failures import StorageFailure

COMMAND: Final = (sys.executable, "-P", "-m", "central_command.exporting.worker")
AHEAD: Final = 4
"""Batches that a process has before it, or has shaped: so it goes on while the export waits for a disk. One that is
shaped stays with the process until there is room for it in its pipe, so there are never more in memory than about two.
"""
BATCH_RECORDS_MAX: Final = 128
"""So a batch's request fits into a pipe, and the export never waits for a process to read it."""
PIPE_BYTES: Final = 1_048_576
"""What a process may have written before it is read, where the system allows it."""


class Workers:
    """The processes, which are there for as long as `started_workers` is in its block."""

    def __init__(self, processes: Sequence[PipedProcess], batch_bytes_max: int) -> None:
        self._processes = processes
        self._batch_bytes_max = batch_bytes_max

    def __repr__(self) -> str:
        return f"<Workers {len(self._processes)}>"

    def shaped(self, candidates: Iterable[Candidate], is_left: Callable[[Candidate], bool]) -> Shapes:
        """Yield records in order, each with what tells what becomes of it.

        `is_left` says of one, some time before its turn, whether it is left out already: it is not sent then.
        """
        under_way: deque[tuple[PipedProcess, list[Candidate], list[Candidate]]] = deque()
        turns = cycle(self._processes)
        for batch in self._batches(candidates):
            if len(under_way) >= AHEAD * len(self._processes):
                yield from _taken(*under_way.popleft())
            process = next(turns)
            sent = [candidate for candidate in batch if not is_left(candidate)]
            _ask(process, encode([candidate.ordinal for candidate in sent]))
            under_way.append((process, batch, sent))
        while under_way:
            yield from _taken(*under_way.popleft())

    def _batches(self, candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
        batch: list[Candidate] = []
        size_bytes = 0
        for candidate in candidates:
            length = candidate.position.length
            if batch and (size_bytes + length > self._batch_bytes_max or len(batch) == BATCH_RECORDS_MAX):
                yield batch
                batch, size_bytes = [], 0
            batch.append(candidate)
            size_bytes += length
        if batch:
            yield batch


def _taken(process: PipedProcess, batch: list[Candidate], sent: list[Candidate]) -> Shapes:
    """Yield a batch with what the process has made of it."""
    message = receive(process.answers_by)
    if message is None:
        raise _ended(process)
    answer = decode_answer(message)
    del message
    if isinstance(answer, Failed):
        raise StorageFailure(answer.sentence) if answer.is_storage else ExportRefused(answer.sentence)
    answers = {candidate.ordinal: shaped for candidate, shaped in zip(sent, answer, strict=True)}
    for candidate in batch:
        yield candidate, partial(answers.pop, candidate.ordinal)


def _ask(process: PipedProcess, message: bytes) -> None:
    with suppress(BrokenPipeError):  # what it said before it ended is heard in its turn
        send(process.asked_by, message)


def _ended(process: PipedProcess) -> ExportRefused:
    """Why there is no answer any more."""
    status = process.wait()
    how = f"with status {status}" if status >= 0 else f"by signal {-status} ({signal.Signals(-status).name})"
    return ExportRefused(
        f"a process that shapes rows of the export has ended {how}: the same command goes on where it was, and with "
        "--workers 0 without such processes."
    )


@contextmanager
def started_workers(order: Order, count: int, batch_bytes_max: int) -> Iterator[Workers]:
    """Start so many processes, which are gone when the block ends. Raises OSError where they cannot be started."""
    with ExitStack() as started:
        processes = []
        for _ in range(count):
            process = PipedProcess(COMMAND, pipe_bytes=PIPE_BYTES)
            started.callback(process.end)
            processes.append(process)
            _ask(process, encode(order))
        yield Workers(processes, batch_bytes_max)
