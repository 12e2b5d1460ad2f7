"""`GET /metrics`: the figures of everything, for Prometheus. With a token that may read, or administer."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

import msgspec
from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.http.requests.authorization import Door, TokenCheck
from central_command.http.requests.replies import Replies
from central_command.http.requests.request_figures import HttpFigures
from central_command.http.settings import HttpSettings, MetricsSettings

METRICS_PATH: Final = "/metrics"

_OPENMETRICS: Final = "application/openmetrics-text"
_TEXT: Final = "text/plain"


class Exposition(msgspec.Struct, frozen=True):
    """The figures in a format of Prometheus."""

    body: bytes
    content_type: str


class MetricsSource(Protocol):
    """What takes the figures and writes them."""

    async def exposition(self, http: HttpFigures, *, openmetrics: bool) -> Exposition:
        """Write all figures of now; `http` are those of the requests."""
        ...


class Monitoring(msgspec.Struct, frozen=True):
    """What the endpoint needs: who writes, who says who may ask, and how often."""

    source: MetricsSource
    gate: TokenCheck
    settings: MetricsSettings


def metrics_routes(
    monitoring: Monitoring | None, http_figures: Callable[[], HttpFigures], http: HttpSettings, replies: Replies
) -> Blueprint:
    """The endpoint; without monitoring there is nobody to ask, and the answer is 404."""
    routes = Blueprint("metrics", __name__)
    door = Door(monitoring, lambda known: (known.gate, known.settings), Scope.READ, http=http, replies=replies)

    @routes.get(METRICS_PATH)
    async def metrics() -> Response:
        known, _ = await door.admit(Scope.READ, Scope.ADMIN)
        found = await known.source.exposition(http_figures(), openmetrics=_wants_openmetrics())
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        return Response(found.body, HTTPStatus.OK, headers, content_type=found.content_type)

    return routes


def _wants_openmetrics() -> bool:
    """Whether the request would rather have OpenMetrics than the older text; whoever says nothing gets that."""
    wanted = {_OPENMETRICS: 0.0, _TEXT: 0.0}
    for value, quality in request.accept_mimetypes:
        kind = value.partition(";")[0].strip().lower()
        wanted[kind] = max(wanted.get(kind, 0.0), quality)
    return wanted[_OPENMETRICS] > 0 and wanted[_OPENMETRICS] >= wanted[_TEXT]
