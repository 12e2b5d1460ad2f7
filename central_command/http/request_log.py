"""One line for each request, in the contract's form: `[ISO timestamp] METHOD /path STATUS DURATIONms`."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

CLIENT_GONE = 499
"""The status logged when the client went away before its answer, as nginx does; it is never sent."""

_METHOD_CHARS_MAX = 20
_PATH_CHARS_MAX = 200
# What RFC 3986 allows in a path; everything else is escaped, so that no path can forge a line or a field.
_PATH_SAFE = "/:@!$&'()*+,;=~-._"

logger = logging.getLogger("central_command.access")


class RequestLog:
    """Writes the lines; `clock` gives seconds since the epoch, UTC."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def write(self, method: str, path: str, status: int, duration_s: float) -> None:
        """Write one line; `path` comes without the query string, whose values are nobody's business."""
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        duration_ms = round(duration_s * 1_000)
        logger.info(
            "[%s] %s %s %d %dms", at, printable(method, _METHOD_CHARS_MAX), printable(path), status, duration_ms
        )


def printable(text: str, chars_max: int = _PATH_CHARS_MAX) -> str:
    """`text` in ASCII without spaces and control characters, percent-encoded where needed, and cut to `chars_max`."""
    escaped = quote(text[:chars_max], safe=_PATH_SAFE, errors="replace")
    return escaped if len(escaped) <= chars_max and len(text) <= chars_max else f"{escaped[:chars_max]}..."
