"""All figures of one moment, taken in one turn of the event loop: what is made of them may take its time elsewhere."""

import msgspec

from actors.jobs.engine import JobsStatistics
from actors.observer.observer import ObserverStatistics
from central_command.http.gateway import CurationLag, Readiness
from central_command.http.requests.request_figures import HttpFigures
from central_command.process.collector import CollectorStatistics
from central_command.service import ServiceStatistics
from persistence.audit import AuditSize
from persistence.databases.reports import Summary
from persistence.files.durations import DurationStatistics
from persistence.journals.journal import JournalStatistics
from persistence.settings.storage import StorageSettings


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known; `summary` is what `/v1/stats/summary` answers at that moment.

    `successes` are when commands last went well, in seconds since the epoch. `journals` and `syncs` are those that this
    process writes, the observer's included; without jobs or an observer there are no figures of them.
    """

    version: str
    service: ServiceStatistics
    journals: dict[str, JournalStatistics]
    syncs: dict[str, DurationStatistics]
    audit: AuditSize
    jobs: JobsStatistics | None
    observer: ObserverStatistics | None
    summary: Summary
    readiness: Readiness
    lag: CurationLag | None
    storage: StorageSettings
    http: HttpFigures
    collector: CollectorStatistics
    successes: dict[str, float]
