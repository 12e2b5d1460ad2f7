"""What the server and its curation process say to each other, by the pipes between them.

The server writes one line, the order, and keeps the pipe open: its end is the order to stop, and comes also when the
server is killed. The process writes a line whenever it got on, its figures. Everything else it says is in the log.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import msgspec

from actors.consent.settings import ConsentSettings
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.following import CurationStatistics
from actors.curation.settings import CurationSettings
from actors.embedding.settings import EmbeddingSettings
from central_command.process.logs import LogSettings
from central_command.settings.configuration import Settings
from persistence.settings.retention import RetentionSettings
from persistence.settings.search import SearchSettings
from persistence.settings.storage import StorageSettings

LINE_BYTES_MAX = 1_048_576
"""More than an order or figures take."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is to work on, and by which settings."""

    data_directory: str
    curation: CurationSettings
    enrichment: EnrichmentSettings
    consent: ConsentSettings
    embedding: EmbeddingSettings
    storage: StorageSettings
    retention: RetentionSettings
    search: SearchSettings
    log: LogSettings

    @classmethod
    def of(cls, settings: Settings, data_directory: Path) -> Self:
        """The order for a data directory that these settings are for."""
        return cls(
            data_directory=str(data_directory.resolve()),
            curation=settings.curation,
            enrichment=settings.enrichment,
            consent=settings.consent,
            embedding=settings.embedding,
            storage=settings.storage,
            retention=settings.retention,
            search=settings.search,
            log=settings.log,
        )

    @property
    def root(self) -> Path:
        """The data directory."""
        return Path(self.data_directory)


_ORDER = msgspec.json.Decoder(Order)
_FIGURES = msgspec.json.Decoder(CurationStatistics)


def line_of(said: Order | CurationStatistics) -> bytes:
    """A line that says it."""
    return msgspec.json.encode(said) + b"\n"


def read_order(line: bytes) -> Order:
    """Read the server's line."""
    return _ORDER.decode(line)


async def read_figures(
    receive: Callable[[], Awaitable[bytes | bytearray]], take: Callable[[CurationStatistics], None]
) -> None:
    """Hand on the figures of each line, until there are no more; raises ValueError for what is none."""
    held = b""
    while received := await receive():
        *lines, held = (held + received).split(b"\n")
        if len(held) > LINE_BYTES_MAX:
            raise ValueError("a line of figures without an end")
        for line in lines:
            take(_FIGURES.decode(line))
