"""Requests: how long they took, what was refused, what is held for them."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from central_command.metrics.families import counters, gauge, histogram
from central_command.metrics.figures import Figures

_LABELS: Final = ("http_request_method", "http_route", "http_response_status_code")


def request_metrics(figures: Figures) -> Iterator[Metric]:
    """Durations, under the name and with the labels that OpenTelemetry gives them, and refusals by code."""
    requests = figures.http.requests
    yield histogram(
        "http_server_request_duration_seconds",
        "How long requests took, from their head to the end of their answer.",
        _LABELS,
        {(kind.method, kind.route, str(kind.status)): found for kind, found in requests.durations.items()},
    )
    yield counters(
        "refusals_total", "What was refused since the start, lines of a batch each, by code.", "code", requests.refusals
    )


def admission_metrics(figures: Figures) -> Iterator[Metric]:
    """What is held for requests now, and what there was no room for."""
    admission = figures.http.admission
    yield gauge("requests_in_flight", "Requests that are being handled.", admission.requests_in_flight)
    yield gauge("connections", "Open connections, but for those of trusted proxies.", admission.connections)
    yield gauge("bodies_bytes", "Bodies in memory.", admission.bodies_bytes)
    yield gauge("large_bodies", "Bodies over http.body_bytes_max in memory.", admission.large_bodies)
    yield counters(
        "not_admitted_total",
        "What there was no room for since the start, by what it was.",
        "what",
        {
            "request": admission.requests_refused,
            "body": admission.bodies_refused,
            "large_body": admission.large_bodies_refused,
            "connection": admission.connections_refused,
        },
    )
