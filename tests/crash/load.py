"""Clients on connections of their own that go on through any number of the server's deaths."""

import http.client
import threading
from collections.abc import Callable, Generator
from http import HTTPStatus
from random import Random
from types import TracebackType
from typing import Self

from tests.crash.acknowledged import Acknowledged
from tests.crash.session_script import Request, session_script
from tests.server_process import HANGS_AFTER_S, Answer, request
from tests.signing_client import SigningClient

Connect = Callable[[], http.client.HTTPConnection]


class StoppedError(Exception):
    """The test has ended, and there is no server any more."""


class Load:
    """Drives sessions against a server. Requests that a death left without an answer are repeated in the next life."""

    def __init__(self, connections: int, seed: int, acknowledged: Acknowledged) -> None:
        self._acknowledged = acknowledged
        self._changed = threading.Condition()
        self._connect: Connect | None = None
        self._life = 0
        self._clients_waiting = 0
        self._stopped = False
        self._problems: list[BaseException] = []
        self.finishing = False
        self._threads = [
            threading.Thread(target=self._run_client, args=(_Client(self, f"{seed}_{index}"),), daemon=True)
            for index in range(connections)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = self.finishing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(HANGS_AFTER_S)

    def begin_life(self, connect: Connect) -> None:
        """Send to the server that `connect` leads to."""
        with self._changed:
            self._life += 1
            self._connect = connect
            self._changed.notify_all()

    def wait_for_answers(self, count: int) -> None:
        """Return once so many more answers have come; raises what went wrong in a client."""
        goal = self._acknowledged.answers + count
        self._wait_for(lambda: self._acknowledged.answers >= goal)

    def wait_for_pause(self) -> None:
        """Return once every client has noticed that the server is gone."""
        self._wait_for(lambda: self._clients_waiting == len(self._threads))

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self._problems) or condition(), HANGS_AFTER_S), "too slow"
            if self._problems:
                raise self._problems[0]

    def finish(self) -> None:
        """Let every client end the session that it is in, and return."""
        self.finishing = True
        for thread in self._threads:
            thread.join(HANGS_AFTER_S)
            assert not thread.is_alive(), "a client did not end"
        if self._problems:
            raise self._problems[0]

    def _run_client(self, client: "_Client") -> None:
        try:
            client.run()
        except StoppedError:
            pass
        except BaseException as problem:  # noqa: BLE001 - the test's own thread raises it
            with self._changed:
                self._problems.append(problem)
                self._changed.notify_all()

    # What clients call

    def take(self, sent: Request, answer: Answer) -> None:
        """Note an answer and tell who waits for it."""
        with self._changed:
            self._acknowledged.take(sent.path, sent.body, answer)
            self._changed.notify_all()

    def life_after(self, life: int) -> tuple[int, Connect]:
        """Wait for a life after `life`; raises StoppedError when there is none."""
        with self._changed:
            self._clients_waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or self._life > life, HANGS_AFTER_S)
            self._clients_waiting -= 1
            if self._stopped or self._life <= life or self._connect is None:
                raise StoppedError
            return self._life, self._connect


class _Client:
    """One thread: a session after the other, over one connection at a time."""

    def __init__(self, load: Load, name: str) -> None:
        self._load = load
        self._name = name
        self._random = Random(name)
        self._life = 0
        self._connection: http.client.HTTPConnection | None = None
        self._accepted: Request | None = None

    def run(self) -> None:
        """Go on until the load finishes."""
        number = 0
        try:
            while not self._load.finishing:
                number += 1
                self._run_session(session_script(SigningClient(f"sess_{self._name}_{number}"), self._random))
        finally:
            self._disconnect()

    def _run_session(self, script: Generator[Request, Answer, None]) -> None:
        answer: Answer | None = None
        while True:
            try:
                sent = next(script) if answer is None else script.send(answer)
            except StopIteration:
                return
            answer = self._delivered(sent)
            if answer.members.get("accepted"):
                self._accepted = sent

    def _delivered(self, sent: Request) -> Answer:
        """Send until there is an answer: after each death over a new connection, the same bytes."""
        while True:
            try:
                return self._sent(self._connected(), sent)
            except (OSError, http.client.HTTPException):
                self._disconnect()

    def _connected(self) -> http.client.HTTPConnection:
        """The connection; in a new life the last acknowledged envelope comes first, once more."""
        if self._connection is None:
            self._life, connect = self._load.life_after(self._life)
            self._connection = connect()
            if self._accepted is not None:
                answer = self._sent(self._connection, self._accepted)
                assert answer.members.get("duplicate") is True, f"a resend after a restart was answered {answer}"
        return self._connection

    def _sent(self, connection: http.client.HTTPConnection, sent: Request) -> Answer:
        answer = request(connection, "POST", sent.path, sent.body)
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise ConnectionError("the server is shutting down")
        self._load.take(sent, answer)
        return answer

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
