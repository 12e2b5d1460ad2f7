"""This server's own operations, as the observer is told them: what it did, for how long, and how that ended."""

from http import HTTPStatus
from http.client import responses
from typing import Any

from actors.observer.failures import REREAD, STARTED
from actors.observer.operation import OWN
from central_command.http.endpoints.exports import ExportReport, ExportState


def started(version: str) -> dict[str, Any]:
    """The server has started."""
    return _done(STARTED, "serve", f"started, version {version}")


def settings_reread(taken: tuple[str, ...]) -> dict[str, Any]:
    """The settings were read again; `taken` are those that are others now."""
    return _done(REREAD, "SIGHUP", f"settings read again; changed: {', '.join(taken) or 'nothing'}")


def answered(method: str, route: str, status: int, duration_s: float, sentence: str = "") -> dict[str, Any]:
    """A request was answered; `route` is the template of its path, `sentence` what a refusal says."""
    said = f"HTTP {status} {sentence or responses.get(status, '')}".strip()
    return _ended(f"{method} {route}", "request", said, None if status < HTTPStatus.BAD_REQUEST else said, duration_s)


def export_ended(report: ExportReport, duration_s: float) -> dict[str, Any]:
    """An export that was asked for has ended."""
    failed = report.reason or "failed" if report.state is ExportState.FAILED else None
    return _ended("export", f"formats {' '.join(report.formats)}", f"{report.rows or 0} rows", failed, duration_s)


def job_ended(
    queue: str, name: str, *, duration_s: float, attempt: int, error: str | None = None, payload: str = ""
) -> dict[str, Any]:
    """A run of a job has ended, well or with an error; `payload` says what it was to do, in short."""
    return _ended(f"job:{queue}", f"{name} {payload}".strip(), f"completed, attempt {attempt}", error, duration_s)


def delivered(route: str, status: int, count: int, mean_s: float) -> dict[str, Any]:
    """So many deliveries of clients were answered with this status, in `mean_s` each."""
    ended = answered("POST", route, status, mean_s)
    return {**ended, "input_summary": "deliveries of clients", "count": count}


def _done(endpoint: str, asked: str, said: str) -> dict[str, Any]:
    return _ended(endpoint, asked, said, None, 0.0)


def _ended(endpoint: str, asked: str, said: str, error: str | None, duration_s: float) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "input_summary": asked,
        "success": error is None,
        "duration_ms": round(max(0.0, duration_s) * 1_000, 3),
        "output_summary": said if error is None else error,
        "error": error,
        "source": OWN,
    }
