"""Sessions and their figures, curation, embedding, and the process."""

from collections.abc import Iterator

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric

from central_command.metrics.families import counter, counters, gauge, gauges
from central_command.metrics.figures import Figures


def state_metrics(figures: Figures) -> Iterator[Metric]:
    """Whether envelopes can be taken in, and what keeps them out."""
    readiness = figures.readiness
    yield gauges("build", "1, with the program's version.", "version", {figures.version: 1})
    yield gauge("uptime_seconds", "Since the service started.", figures.service.uptime_s)
    yield gauge("ready", "1 while envelopes can be taken in.", readiness.ready)
    yield gauges(
        "check_ok",
        "1 for each check of /ready that is ok.",
        "check",
        {name: found == "ok" for name, found in readiness.checks.items()},
    )


def session_metrics(figures: Figures) -> Iterator[Metric]:
    """Sessions: open ones, and those that have an actor in memory."""
    sessions, summary = figures.service.sessions, figures.summary
    yield gauge("sessions", "Sessions since the beginning.", summary.total_sessions)
    yield gauge("open_sessions", "Sessions that are open.", summary.active_sessions)
    yield gauge("unused_sessions", "Of these, sessions that nothing came from yet.", summary.unused_sessions)
    yield gauge("active_sessions", "Sessions with an actor in memory.", sessions.active)
    yield counter("session_activations_total", "Actors that came into memory since the start.", sessions.activated)
    yield counter("session_passivations_total", "Actors that left it because they were idle.", sessions.passivated)
    yield counter("session_evictions_total", "Actors that left it to make room.", sessions.evicted)
    yield counter("session_failures_total", "Actors that were ended by a fault.", sessions.failed)
    yield gauge("chunk_buffers_bytes", "Chunks of open sessions in memory.", figures.service.buffer_bytes)


def total_metrics(figures: Figures) -> Iterator[Metric]:
    """Totals since the beginning, as /v1/stats/summary has them; erasure can lower them."""
    summary = figures.summary
    yield gauge("envelopes", "Accepted envelopes.", summary.total_envelopes)
    yield gauge("steps", "Steps in them.", summary.total_steps)
    yield gauge("contributors", "Contributors with a credit.", summary.unique_contributors)
    yield gauge("credited_points", "Points credited.", summary.total_points_awarded)


def curation_metrics(figures: Figures) -> Iterator[Metric]:
    """How far the corpus is behind, and what was made of it; nothing where none is made."""
    lag, curation = figures.lag, figures.service.curation
    if lag is not None:
        yield gauge("curation_lag_seconds", "For how long the first line waits for curation.", lag.seconds)
        yield gauge("curation_lag_trajectories", "Trajectories that curation has not taken.", lag.trajectories)
        yield gauge("curation_lag_texts", "Texts of the intake that curation has not taken.", lag.texts)
    if curation is not None:
        yield counter("curation_records_total", "Records made since curation began.", curation.records)
        yield counter("curation_text_records_total", "Records made of texts.", curation.text_records)
        yield counters(
            "curation_passed_over_total", "Trajectories without a record.", "reason", dict(curation.passed_over)
        )
        yield gauge("curation_out_of_room", "1 while curation waits for room.", curation.is_out_of_room)


def embedding_metrics(figures: Figures) -> Iterator[Metric]:
    """The queue of texts and the batches; nothing where embedding is off."""
    embedding = figures.service.embedding
    if embedding is None:
        return
    yield gauge("embedding_pending_texts", "Texts that wait, or are being computed.", embedding.pending)
    yield gauge("embedding_waiting_texts", "Texts that wait for a batch.", embedding.waiting)
    yield gauge("embedding_hung_batches", "Batches that do not end.", embedding.hung)
    yield counter("embedded_texts_total", "Texts embedded since the start.", embedding.embedded)
    yield counter("embedding_batches_total", "Batches since the start.", embedding.batches)
    yield counters(
        "embedding_failed_batches_total",
        "Batches that came to nothing, by why.",
        "reason",
        {"failed": embedding.batches_failed, "timed_out": embedding.batches_timed_out},
    )
    yield counters(
        "embedding_unanswered_texts_total",
        "Texts that were not embedded, by why.",
        "reason",
        {
            "queue_full": embedding.refused,
            "no_time": embedding.refused_for_time,
            "expired": embedding.expired,
            "dropped": embedding.dropped,
        },
    )
    yield counter("embedding_cache_hits_total", "Texts answered from the cache.", embedding.cache.hits)
    yield counter("embedding_cache_misses_total", "Texts that it did not hold.", embedding.cache.misses)
    yield gauge("embedding_cache_bytes", "What the cache takes.", embedding.cache.bytes)


def process_metrics(figures: Figures) -> Iterator[Metric]:
    """Memory, processor and files, under the names that Prometheus' libraries have, and full collections."""
    yield from ProcessCollector(registry=None).collect()
    yield counter("full_collections_total", "Searches of all objects for garbage.", figures.collector.full_collections)
