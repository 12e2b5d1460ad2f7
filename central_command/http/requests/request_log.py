"""One line for each request, in the contract's form: `[ISO timestamp] METHOD /path STATUS DURATIONms`."""

import logging
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote

from central_command.process.logs import iso_time

CLIENT_GONE = 499
"""The status logged when the client went away before its answer, as nginx does; it is never sent."""

SECRETIVE_PATHS = ("/v1/contributors/", "/v1/intake/users/")
"""What follows these in a path names somebody."""

_METHOD_CHARS_MAX = 20
_PATH_CHARS_MAX = 200
_PATHS_REMEMBERED_MAX = 256
# What RFC 3986 allows in a path; everything else is escaped, so that no path can forge a line or a field.
_PATH_SAFE = "/:@!$&'()*+,;=~-._"

_PRIVATE_BELOW = "/v1/contributors/"
"""What follows it in a path is a secret of the client's: whoever knows it may have its data erased."""

logger = logging.getLogger("central_command.access")


class _RequestRecord(logging.LogRecord):
    """A record of which only the text differs from any other's: finding out the rest takes longer than writing it."""

    def __init__(self, text: str) -> None:
        self.__dict__.update(_SAME_IN_ALL)
        self.msg = text


_SAME_IN_ALL = vars(logging.LogRecord(logger.name, logging.INFO, "", 0, "", None, None))


class RequestLog:
    """Writes the lines; `clock` gives seconds since the epoch, UTC."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def write(self, method: str, path: str, status: int, duration_s: float) -> None:
        """Write one line; `path` comes without the query string, whose values are nobody's business."""
        if not logger.isEnabledFor(logging.INFO):
            return
        request = f"{printable(method, _METHOD_CHARS_MAX)} {printable(path)}"
        text = f"[{iso_time(self._clock())}] {request} {status} {round(duration_s * 1_000)}ms"
        logger.handle(_RequestRecord(text))


def _without_secrets(path: str) -> str:
    """A path without the id of a contributor, or of a user, that it may hold, right or wrong."""
    for named in SECRETIVE_PATHS:
        if named in path:
            before, _, rest = path.partition(named)
            _, slash, behind = rest.partition("/")
            path = f"{before}{named}...{slash}{behind}"
    return path


@lru_cache(maxsize=_PATHS_REMEMBERED_MAX)
def printable(text: str, chars_max: int = _PATH_CHARS_MAX) -> str:
    """`text` in ASCII without spaces and control characters, percent-encoded where needed, and cut to `chars_max`.

    Of a path that names a contributor, or a user, the id is left out.
    """
    text = _without_secrets(text)
    escaped = quote(text[:chars_max], safe=_PATH_SAFE, errors="replace")
    return escaped if len(escaped) <= chars_max and len(text) <= chars_max else f"{escaped[:chars_max]}..."
