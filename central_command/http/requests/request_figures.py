"""What requests took and what was refused, counted after the answer: nobody waits for it.

Every label has a bound: methods and routes that are not known are one of each, statuses and codes are this program's.
So have all of them together: what went well, or wrong here, has a place for each route, but of the many ways in which a
client can be wrong at each of them only some have (`metrics.refused_kinds_max`), because a kind is 2.7 KB of a scrape.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import msgspec

from central_command.http.requests.admission import AdmissionStatistics
from persistence.files.durations import Durations, DurationStatistics

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""OpenTelemetry's buckets (semantic conventions for HTTP, `http.server.request.duration`)."""

METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
OTHER_METHOD: Final = "_OTHER"
"""As OpenTelemetry has it."""

NO_ROUTE: Final = ""
"""The route of a request that no endpoint is for, that was refused before that was known, or past the bound."""

REFUSED_KINDS_DEFAULT: Final = 32


def code_of(status: int) -> str:
    """What a refusal without a code of its own is counted by: its status' name, such as "conflict"; "" for none."""
    if status < HTTPStatus.BAD_REQUEST:
        return ""
    try:
        return HTTPStatus(status).name.lower()
    except ValueError:
        return "other"


class RequestKind(msgspec.Struct, frozen=True):
    """What requests are counted by."""

    method: str
    route: str
    status: int


class RequestStatistics(msgspec.Struct, frozen=True):
    """Figures since the start: durations by kind of request, and refusals by code."""

    durations: dict[RequestKind, DurationStatistics]
    refusals: dict[str, int]


class HttpFigures(msgspec.Struct, frozen=True):
    """What is known of requests: those that were answered, and what is held for those that are not."""

    requests: RequestStatistics
    admission: AdmissionStatistics


class RequestFigures:
    """Counts requests, and what was refused."""

    def __init__(self, refused_kinds_max: int = REFUSED_KINDS_DEFAULT) -> None:
        """Statuses from 400 to 499 have places of their own at so many routes; others are counted without a route."""
        self._refused_kinds_left = refused_kinds_max
        self._durations: dict[tuple[str, str, int], Durations] = {}
        self._refusals: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<RequestFigures {len(self._durations)} kinds>"

    def answered(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count a request; `route` is one of the application's, or `NO_ROUTE`."""
        kind = (method, route, status) if method in METHODS else (OTHER_METHOD, NO_ROUTE, status)
        durations = self._durations.get(kind)
        if durations is None:
            durations = self._place_of(kind)
        durations.count(duration_s)

    def _place_of(self, kind: tuple[str, str, int]) -> Durations:
        """Where a kind is counted that was not met before, or was and has no place of its own."""
        method, route, status = kind
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and route != NO_ROUTE:
            if self._refused_kinds_left > 0:
                self._refused_kinds_left -= 1
            else:
                kind = (method, NO_ROUTE, status)
        return self._durations.setdefault(kind, Durations(BOUNDS_S))

    def refused(self, codes: Iterable[str]) -> None:
        """Count what was refused, each by the code of its answer; "" is of none."""
        for code in codes:
            if code:
                self._refusals[code] = self._refusals.get(code, 0) + 1

    def statistics(self) -> RequestStatistics:
        """Return the current figures."""
        return RequestStatistics(
            {RequestKind(*kind): durations.statistics() for kind, durations in self._durations.items()},
            dict(self._refusals),
        )
