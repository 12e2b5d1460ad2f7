"""One address that asks for more embeddings than the engine can make, beside others that ask for a few.

The flood stays within a third of its address's budget, as the limits by address let it. Whoever else asks has the same
rate as without it, and a client's start comes through whole.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.server_process import ServerProcess, request

pytestmark = pytest.mark.measured

EMBED = "/v1/embed"
FLOODING, ASKING, STARTING = "127.0.0.2", "127.0.0.3", "127.0.0.4"
FLOOD_CONNECTIONS = 6
FLOOD_REQUESTS_PER_S = 1_000 / 3 / 60
LISTS = ((64, "ideographs"), (8, "ideographs"), (64, "words"), (24, "words"), (1, "ideographs"))
"""Texts of a request, and what they are made of: 512 characters are 512 tokens, or about 120."""

CLIENT_TIMEOUT_S = 10.0
AT_ONCE_S = 2.0
"""Within this a refusal counts as one at once, also where the machine has other work."""
ASKING_CONNECTIONS = 4
ASKED_EACH_PER_S = 1.0
ROUND_S = 6
START_TEXTS = 46
LOADED_S_MAX = 60.0


class Asked(NamedTuple):
    """One request: its status (0 for a time-out) and how long it took."""

    status: int
    seconds: float


def connect(port: int, address: str) -> HTTPConnection:
    """A connection that comes from this address."""
    return HTTPConnection("127.0.0.1", port, timeout=CLIENT_TIMEOUT_S, source_address=(address, 0))


def ask(connection: HTTPConnection, texts: str | Sequence[str]) -> Asked:
    """Ask as clients do: after their time-out they are gone."""
    began_at = time.monotonic()
    try:
        status = request(connection, "POST", EMBED, json.dumps({"input": texts}).encode()).status
    except TimeoutError:
        connection.close()
        status = 0
    return Asked(status, time.monotonic() - began_at)


def flood_text(chance: random.Random, kind: str) -> str:
    """A text that nobody has asked for before, as long as is taken."""
    if kind == "ideographs":
        return "".join(chr(0x4E00 + chance.randrange(5_000)) for _ in range(512))
    return " ".join(f"word{chance.randrange(10**6)}" for _ in range(60))[:512]


def flood_connection(port: int, number: int, stopping: threading.Event, sent: list[Asked]) -> None:
    """Send request after request, no faster than the budget's third lets all of them."""
    chance = random.Random(number)
    connection = connect(port, FLOODING)
    pause_s = FLOOD_CONNECTIONS / FLOOD_REQUESTS_PER_S
    while not stopping.is_set():
        count, kind = LISTS[len(sent) % len(LISTS)]
        found = ask(connection, [flood_text(chance, kind) for _ in range(count)])
        sent.append(found)
        stopping.wait(max(0.0, pause_s - found.seconds))
    connection.close()


@contextmanager
def in_threads(work: Sequence[Callable[[], object]]) -> Iterator[list[threading.Thread]]:
    """Run all of it, and wait for its end."""
    threads = [threading.Thread(target=function) for function in work]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join(3 * CLIENT_TIMEOUT_S)


@contextmanager
def flood(port: int) -> Iterator[list[Asked]]:
    """Six connections of one address that ask without end."""
    stopping, sent = threading.Event(), list[Asked]()

    def connection(number: int) -> Callable[[], None]:
        return lambda: flood_connection(port, number, stopping, sent)

    with in_threads([connection(number) for number in range(FLOOD_CONNECTIONS)]):
        try:
            yield sent
        finally:
            stopping.set()


def asking_round(port: int, name: str) -> tuple[float, list[Asked]]:
    """Ask for a new short text every quarter of a second, over four connections; the rate of answers, and them all."""
    answers: list[Asked] = []
    began_at = time.monotonic()

    def connection(number: int) -> None:
        asking = connect(port, ASKING)
        for slot in range(ROUND_S):
            answers.append(ask(asking, f"{name}: a question of agent {number}, its number {slot}"))
            next_at = began_at + (slot + 1 + number / ASKING_CONNECTIONS) / ASKED_EACH_PER_S
            threading.Event().wait(max(0.0, next_at - time.monotonic()))
        asking.close()

    def of(number: int) -> Callable[[], None]:
        return lambda: connection(number)

    with in_threads([of(number) for number in range(ASKING_CONNECTIONS)]):
        pass
    lasted_s = time.monotonic() - began_at
    return sum(answer.status == 200 for answer in answers) / lasted_s, answers


def start(port: int, name: str, address: str = STARTING) -> list[Asked]:
    """What a client asks for when it starts, one text after the other."""
    connection = connect(port, address)
    texts = ["health check", *(f"{name}: what domain number {number} is about" for number in range(START_TEXTS - 1))]
    found = [ask(connection, text) for text in texts]
    connection.close()
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with its model loaded and the limits by address as they come."""
    settings = {"CENTRAL_COMMAND__EMBEDDING__ENABLED": "true", "CENTRAL_COMMAND__HTTP__LIMITS_ENABLED": "true"}
    with ServerProcess(tmp_path / "data", settings=settings) as running:
        deadline = time.monotonic() + LOADED_S_MAX
        while running.get("/ready").members["checks"]["embedding"] != "ok":
            assert time.monotonic() < deadline, running.said
        yield running


def test_a_flood_from_one_address_leaves_others_their_rate_and_every_start_whole(server: ServerProcess) -> None:
    """At least nine tenths of the rate without it, measured in the same run."""
    start(server.port, "warm")
    alone, _ = asking_round(server.port, "alone")
    started: list[Asked] = []
    with flood(server.port) as sent, in_threads([lambda: started.extend(start(server.port, "start"))]):
        beside, answers = asking_round(server.port, "beside")
    assert [answer.status for answer in answers] == [200] * len(answers)
    assert beside >= 0.9 * alone, answers
    assert [answer.status for answer in started] == [200] * START_TEXTS
    assert any(answer.status == 200 for answer in sent), "the flood has its share too"
    in_vain = [answer for answer in sent if answer.status != 200 and answer.seconds > AT_ONCE_S]
    assert len(in_vain) <= len(sent) / 10, sent
