"""All figures of one moment, taken in one turn of the event loop: what is made of them may take its time elsewhere."""

import msgspec

from central_command.http.gateway import CurationLag, Readiness
from central_command.http.requests.request_figures import HttpFigures
from central_command.process.collector import CollectorStatistics
from central_command.service import ServiceStatistics
from persistence.databases.reports import Summary
from persistence.settings.storage import StorageSettings


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known; `summary` is what `/v1/stats/summary` answers at that moment.

    `successes` are when commands last went well, in seconds since the epoch.
    """

    version: str
    service: ServiceStatistics
    summary: Summary
    readiness: Readiness
    lag: CurationLag | None
    storage: StorageSettings
    http: HttpFigures
    collector: CollectorStatistics
    successes: dict[str, float]
