"""Figures taken and written in a format of Prometheus.

Taking them is one turn of the event loop and a short one, beside what the summary asks of the databases. Writing them
takes longer, so a thread does that, and lets go of the interpreter after each metric, so that nobody waits for it.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Final

import trio
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as written_as_text
from prometheus_client.openmetrics.exposition import generate_latest as written_as_openmetrics
from prometheus_client.registry import Collector

from actors.jobs.engine import JobsStatistics
from actors.observer.observer import Observer
from central_command.http.endpoints.metrics import Exposition
from central_command.http.requests.request_figures import HttpFigures
from central_command.metrics.figures import Figures
from central_command.metrics.http_metrics import admission_metrics, request_metrics
from central_command.metrics.job_metrics import job_metrics, observer_metrics
from central_command.metrics.journal_metrics import disk_metrics, journal_metrics, projection_metrics, upkeep_metrics
from central_command.metrics.service_metrics import (
    curation_metrics,
    embedding_metrics,
    process_metrics,
    session_metrics,
    state_metrics,
    total_metrics,
)
from central_command.process.collector import CollectorStatistics
from central_command.service import Service
from persistence.audit import NO_AUDIT, AuditSize, AuditTail
from persistence.databases.reports import Summary
from persistence.files.file_system import in_thread
from persistence.format.records import JournalName
from persistence.settings.storage import StorageSettings

OPENMETRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

PARTS: Final[tuple[Callable[[Figures], Iterator[Metric]], ...]] = (
    state_metrics,
    request_metrics,
    admission_metrics,
    session_metrics,
    total_metrics,
    journal_metrics,
    projection_metrics,
    disk_metrics,
    upkeep_metrics,
    job_metrics,
    observer_metrics,
    curation_metrics,
    embedding_metrics,
    process_metrics,
)
"""Everything there is: a part gets its place here."""


class Exposing:
    """Answers scrapes, one at a time: whoever comes meanwhile waits for it."""

    def __init__(
        self,
        service: Service,
        storage: Callable[[], StorageSettings],
        collector: Callable[[], CollectorStatistics],
        *,
        jobs: Callable[[], JobsStatistics] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._service = service
        self._storage = storage
        self._collector = collector
        self._jobs = jobs
        self._observer = observer
        self._audit = AuditTail(service.layout, in_thread)
        self._version = version("central-command")
        self._writing = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<Exposing {self._writing.statistics().tasks_waiting} waiting>"

    async def exposition(self, http: HttpFigures, *, openmetrics: bool) -> Exposition:
        """Take the figures, and write them; `http` are those of the requests."""
        successes = await trio.to_thread.run_sync(self._service.last_successes)
        figures = self.taken(http, await self._service.summary(), successes, await self._audit.size())
        written = await trio.to_thread.run_sync(partial(write, figures, openmetrics=openmetrics), limiter=self._writing)
        return Exposition(written, OPENMETRICS_TYPE if openmetrics else CONTENT_TYPE_PLAIN_0_0_4)

    def taken(
        self, http: HttpFigures, summary: Summary, successes: dict[str, float], audit: AuditSize = NO_AUDIT
    ) -> Figures:
        """Take the figures of this moment."""
        service = self._service.statistics()
        own = {} if self._observer is None else {JournalName.OPERATIONS.value: self._observer.journal}
        return Figures(
            version=self._version,
            service=service,
            journals=service.storage.journals | {name: journal.statistics() for name, journal in own.items()},
            syncs=service.storage.syncs | {name: journal.sync_durations() for name, journal in own.items()},
            audit=audit,
            jobs=None if self._jobs is None else self._jobs(),
            observer=None if self._observer is None else self._observer.statistics(),
            summary=summary,
            readiness=self._service.readiness(),
            lag=self._service.curation_lag,
            storage=self._storage(),
            http=http,
            collector=self._collector(),
            successes=successes,
        )


def write(figures: Figures, *, openmetrics: bool) -> bytes:
    """Write figures as text, or as OpenMetrics; in a thread."""
    return (written_as_openmetrics if openmetrics else written_as_text)(_Collected(figures))


class _Collected(Collector):
    """The metrics of one moment."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        for part in PARTS:
            for metric in part(self._figures):
                yield metric
                time.sleep(0)  # lets go of the interpreter, for whoever waits for it
