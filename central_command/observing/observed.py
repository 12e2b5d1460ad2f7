"""`ObservedCalls`: calls of a program to a gateway, each told to an observer. For programs that use this library.

    calls = ObservedCalls("http://127.0.0.1:3700", observer="http://127.0.0.1:3800")
    answer = await calls.observed("/log", {"text": "hello"}, "write a line")

A call is never slower or less sure for being observed than its own answer plus one short request: an observer that is
not there changes nothing.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
import msgspec

from persistence.format import times

SUMMARY_CHARS_MAX: Final = 200
"""Characters of a summary; the observer may cut them further."""
CALL_TIMEOUT_S: Final = 120.0
RECORD_TIMEOUT_S: Final = 2.0
SOURCE: Final = "mcp"

log = logging.getLogger("central_command.observer")

Call = Callable[[str, object], Awaitable[object]]
Record = Callable[[dict[str, Any]], Awaitable[None]]


class ObservedCalls:
    """Calls, and tells. `call` and `record` take the place of the requests that are sent without them."""

    def __init__(
        self,
        gateway: str = "",
        *,
        observer: str = "http://127.0.0.1:3800",
        call: Call | None = None,
        record: Record | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway.rstrip("/")
        self._observer = observer.rstrip("/")
        self._call = call or self._post
        self._record = record or self._tell
        self._clock = clock
        self._timer = timer

    def __repr__(self) -> str:
        return f"<ObservedCalls of {self._gateway or 'a program'}>"

    async def observed(self, endpoint: str, body: object, description: str) -> object:
        """Call `endpoint` with `body`, time it, and tell the observer; return the answer, raise what the call raises.

        An answer `{"error": …}` is a failure, and returned like any other.
        """
        at, began_at = times.to_text(self._clock()), self._timer()
        try:
            answer = await self._call(endpoint, body)
        except Exception as error:
            await self._told(endpoint, description, at, began_at, "", f"{type(error).__name__}: {error}")
            raise
        await self._told(endpoint, description, at, began_at, summary_of(answer), error_in(answer))
        return answer

    async def _told(
        self, endpoint: str, description: str, at: str, began_at: float, output: str, error: str | None
    ) -> None:
        operation = {
            "timestamp": at,
            "endpoint": endpoint,
            "input_summary": description[:SUMMARY_CHARS_MAX],
            "success": error is None,
            "duration_ms": round((self._timer() - began_at) * 1_000, 3),
            "output_summary": output if error is None else error[:SUMMARY_CHARS_MAX],
            "error": error,
            "source": SOURCE,
        }
        try:
            await self._record(operation)
        except Exception as failure:  # noqa: BLE001 (whatever it is, the call it is about has its answer)
            log.warning("the observer was not told of a call to %s: %s", endpoint, type(failure).__name__)

    async def _post(self, endpoint: str, body: object) -> object:
        async with httpx.AsyncClient(timeout=CALL_TIMEOUT_S) as client:
            answer = await client.post(f"{self._gateway}{endpoint}", content=msgspec.json.encode(body), headers=_JSON)
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            return answer.text if answer.is_success else {"error": f"HTTP {answer.status_code} {answer.text}"}

    async def _tell(self, operation: dict[str, Any]) -> None:
        async with httpx.AsyncClient(timeout=RECORD_TIMEOUT_S) as client:
            content = msgspec.json.encode(operation)
            (await client.post(f"{self._observer}/event", content=content, headers=_JSON)).raise_for_status()


_JSON: Final = {"Content-Type": "application/json"}


def error_in(answer: object) -> str | None:
    """The error that an answer says, if it says one."""
    found = answer.get("error") if isinstance(answer, dict) else None
    if not found:
        return None
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()


def summary_of(answer: object) -> str:
    """An answer in short: how many rows it has, or its first characters."""
    if isinstance(answer, list):
        return f"{len(answer)} results"
    if isinstance(answer, dict):
        lists = [f"{len(value)} {name}" for name, value in answer.items() if isinstance(value, list)]
        if lists:
            return ", ".join(lists)[:SUMMARY_CHARS_MAX]
    text = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
    return text[:SUMMARY_CHARS_MAX]
