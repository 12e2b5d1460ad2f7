"""Posts a body, or several at once, and reads what comes back within bounds.

A lost connection, a time-out, 408, 429 and every 5xx can be mended by the same bytes again: the server recognises an
envelope that it already has and gives its first answer again. Any other answer is final, and so is the 429 that says
that a session has all the envelopes it may have.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar, cast

import httpx
import msgspec
import trio

from central_command.client.contract.endpoints import HEALTH_PATH, SESSION_TIMEOUT_S
from central_command.reaching.unreachable import Undelivered, nothing_here, printable, stranger, undelivered

T = TypeVar("T")
_ANSWER_BYTES_MAX = 65_536
_LONG_ANSWER_BYTES_MAX = 1_048_576
"""A hundred events of consent, and the notice."""
TRY_LATER = "try again later"
"""The advice where a server asks for time."""
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
_MEMBERS = frozenset({"error", "reason", "code", "accepted", "closed", "server_public_key"})
_LINES_TYPE = "application/x-ndjson"
_LINES_HEADERS = {"Content-Type": _LINES_TYPE, "Accept": f"{_LINES_TYPE}, application/json"}


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long: capped exponential backoff with jitter, never shorter than the server asks for."""

    attempts_max: int = 6
    """Tries in a row after which whoever gives up at all does; one that was answered by asking for time is none."""
    first_attempts_max: int = 6
    """The same as long as the server never answered: a wrong address is no outage."""
    delay_s: float = 1.0
    delay_s_max: float = 60.0
    retry_after_s_max: float = 3_600.0
    """The longest wait that a server may ask for; whoever gives up at all does so past it."""
    asking_s_max: float = 3_660.0
    """How long a server may ask for time again and again while nothing at all is delivered; the same past it.

    A minute more than one wait may last: what was under way when the server first asked is answered a little later, and
    then asks for as long from then on.
    """

    def wait_s(self, attempt: int, retry_after_s: float | None, jitter: float) -> float:
        """Seconds to wait after the `attempt`-th try (from 1); `jitter` is from 0 up to 1.

        What the server asks for is kept, with up to a second more, so that clients sent away together come back apart.
        """
        if retry_after_s is not None:
            return retry_after_s + jitter
        return float(min(self.delay_s_max, self.delay_s * 2 ** (attempt - 1)) * (0.5 + jitter / 2))


class _Health(msgspec.Struct, frozen=True):
    """What is looked at of a server's health."""

    status: str


class Answer(msgspec.Struct, frozen=True):
    """An answer: its status and, when it is a JSON object, its members."""

    status: int
    members: dict[str, object]
    retry_after_s: float | None = None
    location: str | None = None
    """Where a redirection points to."""

    @property
    def is_known(self) -> bool:
        """Whether it has a member that a Central Command's answers have; another program's page has none."""
        return not self.members.keys().isdisjoint(_MEMBERS)

    @property
    def reason(self) -> str:
        """What the server says is wrong, made fit for a terminal; its status when it says nothing."""
        for name in ("reason", "error"):
            text = self.members.get(name)
            if isinstance(text, str) and text.strip():
                return printable(text)
        return f"the server answered with status {self.status}"

    @property
    def is_temporary(self) -> bool:
        """Whether the same request can be answered otherwise later: 408, 429 and every 5xx."""
        if self.status == httpx.codes.TOO_MANY_REQUESTS:
            return self.members.get("code") != "envelope_limit"
        return self.status == httpx.codes.REQUEST_TIMEOUT or self.status >= httpx.codes.INTERNAL_SERVER_ERROR

    @property
    def asks_for_time(self) -> bool:
        """Whether nothing is wrong but that it is too soon: a 429 that is temporary, or a 503 that says when."""
        if self.status == httpx.codes.TOO_MANY_REQUESTS:
            return self.is_temporary
        return self.status == httpx.codes.SERVICE_UNAVAILABLE and self.retry_after_s is not None


class Results(msgspec.Struct, frozen=True):
    """The answers to the first of the lines that were sent, in order: to all, unless the answer broke off."""

    answers: tuple[Answer, ...]


def not_there(answer: Answer, url: httpx.URL) -> Undelivered | None:
    """Why an answer other than 200 shows that what was asked for is not at `url`; None where it shows no such thing.

    It is another program's, or of a Central Command that has no such endpoint.
    """
    if not answer.is_known:
        return stranger(answer.status, answer.location, url)
    if answer.status == httpx.codes.NOT_FOUND:
        return Undelivered(answer.reason.rstrip("."), nothing_here(url), status=answer.status)
    return None


class Delivery:
    """Posts bodies over one client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def greet(self) -> Undelivered | None:
        """Ask once whether a Central Command is there: None when one is, or why there seems to be none."""
        answer = await self.get(HEALTH_PATH, _Health)
        return answer if isinstance(answer, Undelivered) else None

    async def get(self, path: str, kind: type[T], **query: int) -> T | Undelivered:
        """Ask for `path` once; what is no JSON of this `kind` counts as no answer of a Central Command."""
        with trio.move_on_after(SESSION_TIMEOUT_S):
            try:
                async with self._client.stream("GET", path, params=query) as response:
                    if response.status_code == httpx.codes.OK:
                        try:
                            return msgspec.convert(await _json(response), kind)
                        except msgspec.ValidationError:
                            return stranger(response.status_code, None, self._client.base_url)
                    members, wait_s = await _members(response), _retry_after_s(response)
                    answer = Answer(response.status_code, members, wait_s, _location(response))
                    return self._refused(answer)
            except httpx.RequestError as error:
                return undelivered(error, self._client.base_url)
        return Undelivered(f"no answer came within {SESSION_TIMEOUT_S:g} s")

    def stranger(self, answer: Answer) -> Undelivered:
        """What is said of an answer that is none of a Central Command."""
        return stranger(answer.status, answer.location, self._client.base_url)

    def nothing_here(self) -> str:
        """What to look at where a Central Command says that it has no such endpoint."""
        return nothing_here(self._client.base_url)

    def _refused(self, answer: Answer) -> Undelivered:
        """Why what was asked for did not come: what a Central Command says of it, or that there is none."""
        if (missing := not_there(answer, self._client.base_url)) is not None:
            return missing
        reason = answer.reason.rstrip(".")
        return (
            Undelivered(reason, TRY_LATER, status=answer.status, retry_after_s=answer.retry_after_s)
            if answer.is_temporary
            else Undelivered(reason, status=answer.status)
        )

    async def attempt(self, path: str, body: bytes, *, timeout_s: float) -> Answer | Undelivered:
        """Post `body` once; the answer may be one that a later attempt can mend (`Answer.is_temporary`)."""
        return await self._requested("POST", path, body, _HEADERS, timeout_s, _ANSWER_BYTES_MAX)

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer | Undelivered:
        """Send a request once whose answer may be a long one."""
        return await self._requested(
            method, path, body, _HEADERS | {**(headers or {})}, SESSION_TIMEOUT_S, _LONG_ANSWER_BYTES_MAX
        )

    async def _requested(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float, bytes_max: int
    ) -> Answer | Undelivered:
        with trio.move_on_after(timeout_s):
            try:
                async with self._client.stream(method, path, content=body or None, headers=headers) as response:
                    members, wait_s = await _members(response, bytes_max), _retry_after_s(response)
                    return Answer(response.status_code, members, wait_s, _location(response))
            except httpx.RequestError as error:
                return undelivered(error, self._client.base_url)
        return Undelivered(f"no answer came within {timeout_s:g} s")

    async def attempt_lines(
        self, path: str, lines: Sequence[bytes], *, timeout_s: float
    ) -> Results | Answer | Undelivered:
        """Post several bodies at once, a line each; an `Answer` is one to the whole request, which is no result."""
        answers: list[Answer] = []
        failure = Undelivered(f"no answer came within {timeout_s:g} s")
        with trio.move_on_after(timeout_s):
            try:
                async with self._client.stream(
                    "POST", path, content=b"\n".join(lines), headers=_LINES_HEADERS
                ) as response:
                    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                    if response.status_code != httpx.codes.OK or kind != _LINES_TYPE:
                        return Answer(response.status_code, await _members(response), _retry_after_s(response))
                    await _read_results(response, len(lines), answers)
                    return Results(tuple(answers)) if answers else Answer(response.status_code, {})
            except httpx.RequestError as error:
                failure = undelivered(error, self._client.base_url)
        return Results(tuple(answers)) if answers else failure


async def _read_results(response: httpx.Response, count: int, answers: list[Answer]) -> None:
    """Put the results into `answers` as they come: at most `count`, and none behind a line that is no result.

    What else comes is read and dropped, because httpx leaves a generator behind where one stops in the middle.
    """
    rest = b""
    are_results = True
    async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_bytes())) as pieces:
        async for piece in pieces:
            *whole, rest = (rest + piece).split(b"\n") if are_results else (b"",)
            for line in whole:
                answer = _result(line) if are_results and len(answers) < count else None
                are_results = answer is not None
                if answer is not None:
                    answers.append(answer)
            are_results = are_results and len(rest) <= _ANSWER_BYTES_MAX


def _result(line: bytes) -> Answer | None:
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict):
        return None
    status, retry_after = members.get("status"), members.get("retry_after")
    if not isinstance(status, int) or isinstance(status, bool):
        return None
    if not isinstance(retry_after, int) or isinstance(retry_after, bool) or retry_after < 0:
        retry_after = None
    return Answer(status, members, retry_after)


async def _members(response: httpx.Response, bytes_max: int = _ANSWER_BYTES_MAX) -> dict[str, object]:
    value = await _json(response, bytes_max)
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


async def _json(response: httpx.Response, bytes_max: int = _ANSWER_BYTES_MAX) -> object:
    """What the answer holds; None for what is no JSON, or too long."""
    body = bytearray()
    async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_bytes())) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > bytes_max:
                return None
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None


def _location(response: httpx.Response) -> str | None:
    """Where an answer points to, if it does."""
    return response.headers.get("Location") if response.is_redirect else None


def _retry_after_s(response: httpx.Response) -> float | None:
    """`Retry-After` in seconds (RFC 9110, 10.2.3): a number of them, or a date; None for anything else.

    A date is measured from the answer's own `Date` where there is one, so that this machine's clock need not be right.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    until = _date(text)
    if until is None:
        return None
    now = _date(response.headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
