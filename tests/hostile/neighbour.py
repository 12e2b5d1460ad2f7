"""A well-behaved client with an address of its own: how much of its work is done, alone and beside an attack."""

import http.client
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from tests.server_process import INGEST, OPEN, request
from tests.signing_client import SigningClient, dumps

DURATION_S = float(os.environ.get("HOSTILE_DURATION_S", "4"))
"""Seconds that an attack goes on for; `HOSTILE_DURATION_S=60` is what is worth reporting."""

TIMEOUT_S = 30.0
"""As long as published clients wait for an answer."""

PERIOD_S = 0.25
"""Seconds from one envelope to the next; whoever was answered late sends the next one at once."""

SHARE_KEPT_MIN = 0.9
"""The share of its rate that a neighbour must keep while others are attacked from elsewhere."""

LIMITED = {
    "CENTRAL_COMMAND__HTTP__LIMITS_ENABLED": "true",
    "CENTRAL_COMMAND__HTTP__TRUSTED_PROXIES": '["127.0.0.1/32"]',
}
"""The limits as they are by default; every loopback address but the first is a client's."""

ENVELOPES_MAX = 190
"""Of one session; the contract has 200."""


def connection_from(port: int, address: str) -> http.client.HTTPConnection:
    """A connection to a port of this machine that comes from another of its loopback addresses."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S, source_address=(address, 0))


def opened(connection: http.client.HTTPConnection, session_id: str) -> SigningClient:
    """A session that was opened over this connection."""
    client = SigningClient(session_id)
    answer = request(connection, "POST", OPEN, dumps(client.opening()).encode())
    assert answer.status == 200, answer
    client.opened(answer.members["server_public_key"])
    return client


def _steps(client: SigningClient) -> list[dict[str, Any]]:
    """Some 120 KB, as real chunks have."""
    return [client.step(content="x" * 40_000) for _ in range(3)]


class Neighbour:
    """Sends an envelope every `PERIOD_S` for as long as it is entered, and notes what it is answered."""

    def __init__(self, port: int, address: str) -> None:
        self._port = port
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._sessions = 0
        self.answers: Counter[str] = Counter()
        self._times: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Send nothing more; returns once the last answer is there."""
        self._stop.set()
        self._thread.join(TIMEOUT_S)

    def rate_while(self, seconds: float) -> float:
        """Envelopes accepted in a second, over the next so many seconds."""
        first, began_at = len(self._times), time.monotonic()
        self._stop.wait(seconds)
        return (len(self._times) - first) / (time.monotonic() - began_at)

    @contextmanager
    def measured(self) -> Iterator[list[float]]:
        """The rate over what is done meanwhile, put into the list at its end."""
        found: list[float] = []
        first, began_at = len(self._times), time.monotonic()
        yield found
        found.append((len(self._times) - first) / (time.monotonic() - began_at))

    def _work(self) -> None:
        connection = connection_from(self._port, self._address)
        client: SigningClient | None = None
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                if client is None or client.sequence >= ENVELOPES_MAX:
                    self._sessions += 1
                    client = opened(connection, f"sess_{self._address}_{self._sessions}")
                answer = request(connection, "POST", INGEST, client.chunk_of(_steps(client)))
            except (OSError, http.client.HTTPException, AssertionError) as problem:
                self.answers[repr(problem)] += 1
                connection.close()
                client = None
            else:
                is_accepted = answer.status == 200 and answer.members["accepted"] is True
                self.answers["accepted" if is_accepted else repr(answer)] += 1
                if is_accepted:
                    self._times.append(time.monotonic())
                else:
                    client = None
            due += PERIOD_S
            self._stop.wait(max(0, due - time.monotonic()))
        connection.close()
