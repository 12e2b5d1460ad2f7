"""A process that shapes rows: `python -m central_command.exporting.worker`, started by an export and by nobody else.

Reading and shaping hold the interpreter's lock for as long as they take, so they have an interpreter of their own. It
reads the corpus and the export's plan, and writes nothing: so it may end at any moment, and does when the export does.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from central_command.corpus.stored import StoredCorpus
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.formats.table import formats_of
from central_command.exporting.orders import Failed, Order, decode_order, decode_wanted, encode
from central_command.exporting.plan import Plan, open_plan_to_read
from central_command.exporting.selection import ExportRefused
from central_command.exporting.shaping import Shaping, source_of
from central_command.exporting.source import Means
from central_command.exporting.tokens import load_counter
from central_command.process.collector import collecting_seldom
from central_command.process.piped import STDIN, STDOUT, ignore_terminal, receive, send
from persistence.databases.database import DatabaseFailure
from persistence.files.failures import NoDataDirectory, StorageDamage, StorageFailure
from persistence.keys.sealing import MasterKeyError


def main() -> int:
    """Shape what is wanted until standard input ends; return the exit status."""
    ignore_terminal()
    message = receive(STDIN)
    if message is None:
        return 0
    order = decode_order(message)
    wanted = SimpleQueue[list[int]]()
    threading.Thread(target=_listen, args=(wanted,), name="export", daemon=True).start()
    try:
        _shape(order, wanted)
    except BrokenPipeError:
        return 0
    except (StorageFailure, DatabaseFailure) as error:
        send(STDOUT, encode(Failed(str(error), is_storage=True)))
    except (ExportRefused, NoDataDirectory, StorageDamage, MasterKeyError) as error:
        send(STDOUT, encode(Failed(str(error), is_storage=False)))
    except OSError as error:
        send(STDOUT, encode(Failed(f"{error.filename}: {error.strerror}", is_storage=False)))
    return 0


def _listen(wanted: "SimpleQueue[list[int]]") -> None:
    """Take in what is wanted; end this process when the export has ended, whatever it is at."""
    while (message := receive(STDIN)) is not None:
        wanted.put(decode_wanted(message))
    os._exit(0)


def _shape(order: Order, wanted: "SimpleQueue[list[int]]") -> None:
    with _opened(order) as (plan, shaping), collecting_seldom():
        while True:
            candidates = plan.candidates_at(wanted.get())
            send(STDOUT, encode([shaping.shape(candidate) for candidate in candidates]))


@contextmanager
def _opened(order: Order) -> Iterator[tuple[Plan, Shaping]]:
    """What is read, for as long as the block lasts."""
    selection = order.selection
    benchmarks = Benchmarks(order.benchmark_ngrams_max)
    for path in order.benchmarks:
        benchmarks.add(Path(path))
    counter = None if order.tokenizer is None else load_counter(Path(order.tokenizer))
    if tuple(benchmarks.files) != selection.benchmarks or (counter and counter.file) != selection.tokenizer:
        raise ExportRefused("a file of --decontaminate or --tokenizer was changed meanwhile: export again.")
    stored = StoredCorpus(Path(order.data_directory))
    formats = formats_of(selection)
    with open_plan_to_read(Path(order.plan)) as plan, stored.kept_open():
        means = Means(benchmarks=benchmarks, counter=counter, family_bytes_max=order.family_bytes_max)
        source = source_of(stored, plan, selection, formats, means)
        yield plan, Shaping(source, formats, selection.shape, is_chosen=order.is_chosen)


if __name__ == "__main__":
    sys.exit(main())
