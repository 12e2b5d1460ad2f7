"""The corpus of a running server, read over HTTP a page at a time (docs/protocol.md, "The corpus"). Blocking.

A page is read whole before any of it is handed on, so one that breaks off is asked for again by the same cursor, and
nothing comes twice. What a later try can mend is tried again: a lost connection, a time-out, a page without its end,
429 and every 5xx, with capped exponential backoff, or as long as the server asks for, and a bounded number of times.
Before the server has answered for the first time, a connection that fails is a wrong address, and is said at once.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import msgspec

from central_command.access.tokens import TOKEN
from central_command.corpus.filters import ARGUMENTS, Filters
from central_command.corpus.paging import End, Kind, Line
from central_command.corpus.trajectory import Record, Trajectory
from central_command.reaching.unreachable import Words, nothing_here, printable, stranger, undelivered

log = logging.getLogger("central_command.corpus")

TOKEN_VARIABLE: Final = "CENTRAL_COMMAND_TOKEN"  # noqa: S105 (the variable's name)
TIMEOUT_S: Final = 60.0
ATTEMPTS_MAX: Final = 6
"""Tries in a row of one page."""
DELAY_S: Final = 1.0
DELAY_S_MAX: Final = 60.0
"""The longest wait between two tries, also where the server asks for more."""
PAGE_BYTES_MAX: Final = 1_073_741_824
"""Bytes of a page, unpacked: many times what servers send. Guards memory."""
SENTENCE_BYTES_MAX: Final = 16_384
PORT_MAX: Final = 65_535
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""No proxy of the environment knows this machine's own."""

WORDS: Final = Words("the URL given to open_corpus", "SSL_CERT_FILE names the file of the certificate to trust")

_LINE: Final = msgspec.json.Decoder(Line)
_NAMES: Final = {member: name for name, member in ARGUMENTS.items()}


class NotServedError(Exception):
    """The server refuses, or does not answer; the text is one sentence."""


class _AgainError(Exception):
    """A later try may mend it; `wait_s` is what the server asks for, None where it said nothing."""

    def __init__(self, sentence: str, wait_s: float | None = None) -> None:
        super().__init__(sentence)
        self.wait_s = wait_s


class _Refusal(msgspec.Struct, frozen=True):
    error: str


class _Page(msgspec.Struct, frozen=True):
    items: list[Trajectory | Record]
    end: End


class Server:
    """The corpus of a server; each reading has connections of its own.

    Raises ValueError for a URL or a token that is none. `transport` and `sleep` are for tests.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = _server_url(url)
        self._token = _token(token, self._url)
        self._transport = transport
        self._sleep = sleep

    def __repr__(self) -> str:
        return self._url

    def trajectories(self, filters: Filters) -> Iterator[Trajectory]:
        """Yield the trajectories that pass."""
        return self._all("trajectories", filters)

    def records(self, filters: Filters) -> Iterator[Record]:
        """Yield the records of the intake that pass."""
        return self._all("records", filters)

    def _all(self, kind: Kind, filters: Filters) -> Iterator[Any]:
        arguments = _arguments(filters)
        with httpx.Client(
            base_url=self._url,
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=httpx.URL(self._url).host not in LOOPBACK,
            transport=self._transport,
        ) as client:
            while True:
                page = self._page(client, f"/api/corpus/{kind}", arguments, is_known="cursor" in arguments)
                if page.end.too_long:
                    log.warning("%s hands out no lines as long as those of %s", self._url, ", ".join(page.end.too_long))
                yield from page.items
                if page.end.cursor is None:
                    return
                arguments["cursor"] = page.end.cursor

    def _page(self, client: httpx.Client, path: str, arguments: dict[str, Any], *, is_known: bool) -> _Page:
        """A whole page, asked for until it comes; `is_known` says that the server has answered before."""
        attempt = 0
        while True:
            attempt += 1
            try:
                with client.stream("GET", path, params=arguments) as response:
                    return _read(response, client.base_url)
            except httpx.DecodingError:
                again = _AgainError("what it sends cannot be unpacked")
            except httpx.TransportError as error:
                why = undelivered(error, client.base_url, WORDS)
                if why.permanent or not (is_known or isinstance(error, httpx.TimeoutException)):
                    raise NotServedError(f"{why.reason}; {why.advice}.") from None
                again = _AgainError(why.reason)
            except _AgainError as error:
                again, is_known = error, True
            if attempt == ATTEMPTS_MAX:
                raise NotServedError(f"{self._url}: {again}; it was asked {ATTEMPTS_MAX} times.") from None
            self._sleep(_wait_s(attempt, again.wait_s))


def _token(given: object, url: str) -> str:
    """The token that is given, or that the environment has; no sentence has anything of it."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip() if given is None else given
    if not token:
        raise ValueError(f"reading from {url} needs a token of the scope export: token=, or {TOKEN_VARIABLE}.")
    if not isinstance(token, str) or TOKEN.match(token) is None:
        said = TOKEN_VARIABLE if given is None else "token="
        raise ValueError(
            f"what {said} gives is no token: one is cc_ and 43 letters, digits, _ or -, as "
            "`central-command token create --scope export` prints it."
        )
    return token


def _read(response: httpx.Response, base_url: httpx.URL) -> _Page:
    """The page of an answer. Raises NotServedError for a refusal, _AgainError for what a later try may mend."""
    if response.status_code == httpx.codes.OK:
        return _whole_page(response)
    sentence = _sentence_of(response)
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        raise _AgainError(sentence or f"it answers {response.status_code}", _retry_after_s(response))
    if sentence is None:
        location = response.headers.get("Location") if response.is_redirect else None
        why = stranger(response.status_code, location, base_url, WORDS)
        raise NotServedError(f"{why.reason}; {why.advice}.")
    if response.status_code == httpx.codes.NOT_FOUND:
        sentence = f"{sentence.rstrip('.')}; {nothing_here(base_url, WORDS)}."
    raise NotServedError(f"{response.request.url.copy_with(query=None)} answers {response.status_code}: {sentence}")


def _whole_page(response: httpx.Response) -> _Page:
    items: list[Trajectory | Record] = []
    for text in _lines(response):
        try:
            line = _LINE.decode(text)
        except msgspec.DecodeError:
            raise NotServedError(f"{response.request.url.host} sends what is no corpus.") from None
        if line.end is not None:
            return _Page(items, line.end)
        items += [each for each in (line.trajectory, line.record) if each is not None]
    raise _AgainError("a page broke off")


def _lines(response: httpx.Response) -> Iterator[bytes]:
    """Yield the lines that came whole."""
    size_bytes = 0
    begun: list[bytes] = []
    for piece in response.iter_bytes():
        size_bytes += len(piece)
        if size_bytes > PAGE_BYTES_MAX:
            raise NotServedError(f"{response.request.url.host} sends a page of more than {PAGE_BYTES_MAX:,} bytes.")
        *whole, rest = piece.split(b"\n")
        for text in whole:
            yield b"".join([*begun, text])
            begun = []
        begun.append(rest)


def _sentence_of(response: httpx.Response) -> str | None:
    """What a Central Command says is wrong; None where another program answers."""
    text = b""
    for piece in response.iter_bytes():
        text += piece
        if len(text) > SENTENCE_BYTES_MAX:
            return None
    try:
        return printable(msgspec.json.decode(text, type=_Refusal).error)
    except msgspec.DecodeError:
        return None


def _retry_after_s(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _wait_s(attempt: int, asked_s: float | None) -> float:
    """Seconds until the next try; apart from those of others that were sent away together."""
    wait_s = DELAY_S * 2.0 ** (attempt - 1) if asked_s is None else asked_s
    return min(DELAY_S_MAX, wait_s) * (1 + os.urandom(1)[0] / 1_024)


def _arguments(filters: Filters) -> dict[str, Any]:
    """The query string that asks for the same."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(Filters):
        value = getattr(filters, field.name)
        if value != field.default:
            found[_NAMES[field.name]] = "true" if value is True else list(value) if isinstance(value, tuple) else value
    return found


def _server_url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"what is to be read from is no URL: {error}.") from None
    is_plain = not (url.userinfo or url.query or url.fragment)
    if url.scheme not in {"http", "https"} or not url.host or not is_plain or not 0 < (url.port or 1) <= PORT_MAX:
        raise ValueError("what is to be read from is no URL of a server, such as https://central.example.")
    return text.rstrip("/")
