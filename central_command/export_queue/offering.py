"""What the endpoints of exports and of the corpus need, put together."""

from pathlib import Path

from central_command.access.audit import Audit
from central_command.access.gate import Gate
from central_command.corpus.desk import CorpusDesk
from central_command.corpus.paging import PageBounds
from central_command.export_queue.queue import ExportQueue
from central_command.exporting.settings import ExportSettings
from central_command.http.endpoints.exports import Exports


def offered(queue: ExportQueue, settings: ExportSettings, data_directory: Path, gate: Gate, audit: Audit) -> Exports:
    """The exports of a queue, and the pages of a data directory's corpus, for who `gate` lets in."""
    largest = PageBounds(
        records=settings.page_records_max, read_bytes=settings.page_bytes_max, line_bytes=settings.page_line_bytes_max
    )
    corpus = CorpusDesk(
        data_directory,
        largest,
        providers=lambda: queue.providers,
        readers_max=settings.readers_max,
        waiting_max=settings.readers_waiting_max,
    )
    return Exports(queue, corpus, gate, settings.requests_per_minute, settings.requests_per_hour, audit)
