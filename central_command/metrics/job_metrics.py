"""Jobs by queue and state, and the observer."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from central_command.metrics.families import PREFIX, counter, gauge, gauges
from central_command.metrics.figures import Figures
from persistence.databases.jobs_database import JobStatus
from persistence.format import times


def job_metrics(figures: Figures) -> Iterator[Metric]:
    """What each queue holds, those beside the jobs included; nothing where no jobs are run."""
    jobs = figures.jobs
    if jobs is None:
        return
    family = GaugeMetricFamily(
        f"{PREFIX}jobs",
        "Jobs that are kept, by queue and state, and what has a queue of its own.",
        labels=["queue", "state"],
    )
    for queue in jobs.queues:
        for status in JobStatus:
            family.add_metric([queue.name, status.value], getattr(queue, status.value))
    yield family
    yield gauges(
        "job_queue_paused",
        "1 while nothing of the queue is begun.",
        "queue",
        {queue.name: queue.paused for queue in jobs.queues},
    )
    yield gauges(
        "job_queue_paused_timestamp_seconds",
        "Since when nothing of the queue is begun, where it is paused.",
        "queue",
        {queue.name: times.from_text(queue.paused_at) for queue in jobs.queues if queue.paused_at is not None},
    )
    yield gauge("jobs_running", "Runs of jobs in this process.", jobs.running)
    yield gauge("jobs_out_of_order", "1 while the database of jobs cannot be used.", jobs.is_out_of_order)
    yield counter("job_events_lost_total", "Events of jobs that their log has failed to take.", jobs.events_lost)


def observer_metrics(figures: Figures) -> Iterator[Metric]:
    """What was observed since the start; nothing where nothing is."""
    observer = figures.observer
    if observer is None:
        return
    yield counter("observed_operations_total", "Operations that were stored.", observer.recorded)
    yield counter("observer_refused_operations_total", "Operations that there was no room for.", observer.refused)
    yield counter("observer_left_out_total", "Own operations beyond observer.own_waiting_max.", observer.own_left_out)
    yield gauge("observer_failure_groups", "Groups of failures.", observer.groups)
