"""Journals, the databases that follow them, the disk, and what looks after them."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from central_command.metrics.families import PREFIX, counter, counters, gauge, gauges, histogram
from central_command.metrics.figures import Figures


def journal_metrics(figures: Figures) -> Iterator[Metric]:
    """What each journal holds, what waits, and how long the disk takes."""
    journals, audit = figures.journals, figures.audit
    yield counters(
        "journal_lines_total",
        "Lines of the journal since the beginning, those included that are erased or dropped.",
        "journal",
        {name: each.tail.n for name, each in journals.items()} | {"audit": audit.lines},
    )
    yield gauges(
        "journal_stored_bytes",
        "What the journal takes on disk.",
        "journal",
        {name: each.stored_bytes for name, each in journals.items()} | {"audit": audit.stored_bytes},
    )
    yield gauges(
        "journal_queue_lines",
        "Lines that wait to be stored.",
        "journal",
        {name: each.waiting_lines for name, each in journals.items()},
    )
    yield gauges(
        "journal_queue_bytes",
        "What these lines have.",
        "journal",
        {name: each.waiting_bytes for name, each in journals.items()},
    )
    yield counters(
        "journal_commits_total",
        "Group commits since the start.",
        "journal",
        {name: each.batches for name, each in journals.items()},
    )
    yield counters(
        "journal_refused_lines_total",
        "Lines refused since the start because the disk had no room.",
        "journal",
        {name: each.refused_for_room for name, each in journals.items()},
    )
    yield histogram(
        f"{PREFIX}journal_sync_duration_seconds",
        "How long the sync of a group commit took.",
        ("journal",),
        {(name,): each for name, each in figures.syncs.items()},
    )
    yield gauges(
        "journal_stalled_seconds",
        "For how long the journal's writer has not moved although lines wait for it.",
        "journal",
        figures.service.stalled_s,
    )


def projection_metrics(figures: Figures) -> Iterator[Metric]:
    """How far the databases are behind the journals."""
    projector = figures.service.storage.projector
    yield gauge("projection_lag_lines", "Lines on disk that the databases do not hold yet.", projector.lines_waiting)
    yield counter("projected_lines_total", "Lines projected since the start.", projector.lines_projected)
    yield counter("projection_batches_total", "Transactions of the projection since the start.", projector.batches)


def disk_metrics(figures: Figures) -> Iterator[Metric]:
    """What is taken, what is free, and the bounds of both."""
    space, refused = figures.service.storage.space, figures.service.storage.refused
    yield gauge("disk_free_bytes", "What is free on the disk of the data directory.", space.free_bytes)
    yield gauge("disk_free_min_bytes", "What stays free (storage.free_bytes_min).", figures.storage.free_bytes_min)
    yield gauge("quota_used_bytes", "What the journals take of their quota.", space.stored_bytes)
    yield gauge("quota_bytes", "The quota of the journals (storage.quota_bytes).", figures.storage.quota_bytes)
    yield gauge(
        "quota_warning_bytes",
        "From where on the log warns of it (storage.quota_warning_bytes).",
        figures.storage.quota_warning_bytes,
    )
    yield gauge("refused_quota_used_bytes", "What refused envelopes take of their quota.", refused.stored_bytes)
    yield gauge("refused_quota_bytes", "The quota of refused envelopes.", refused.quota_bytes)
    yield counter(
        "refused_dropped_files_total", "Daily files of refused envelopes that were dropped.", refused.days_dropped
    )


def upkeep_metrics(figures: Figures) -> Iterator[Metric]:
    """The check of all lines, erasure, and when a backup and a verification last went well."""
    service = figures.service
    yield counter("check_passes_total", "Passes over all stored lines since the start.", service.check.full_passes)
    yield counter("checked_lines_total", "Lines checked since the start.", service.check.lines)
    yield counter("checked_bytes_total", "What these lines have.", service.check.bytes)
    yield gauge("check_damaged_places", "Places where stored lines have changed.", service.check.damaged_places)
    if service.check.last_full_pass_at is not None:
        yield gauge(
            "check_last_pass_timestamp_seconds",
            "When a pass last came to every line, since the epoch.",
            service.check.last_full_pass_at,
        )
    yield gauges(
        "last_success_timestamp_seconds",
        "When the command last went well, since the epoch.",
        "command",
        figures.successes,
    )
    yield gauge("erasure_open_requests", "Requests for erasure that are not done.", service.erasures_open)
