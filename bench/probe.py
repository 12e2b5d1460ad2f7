"""A client in a process of its own that asks for `/health` at a steady pace and notes how long each answer took.

A server that goes away, or closes its connection, is asked again at the same pace until it is back.
"""

import itertools
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from multiprocessing.connection import Connection as Pipe
from typing import Final

import msgspec

from bench.http1 import RECEIVE_BYTES, answer_in, dial, request

INTERVAL_S: Final = 0.02
START_S_MAX: Final = 30.0


class Sample(msgspec.Struct, frozen=True):
    """One answer: when it was asked for (`time.perf_counter`), and the seconds until it was there."""

    asked_at: float
    seconds: float


class Probe:
    """The samples of a probe, to be had once it has ended."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def between(self, began_at: float, ended_at: float) -> list[float]:
        """The latencies of what was asked for between two times, in seconds.

        An answer that took longer than the pace kept others from being asked for. They count as if they had been:
        otherwise a pause of a second would be one sample among many.
        """
        found: list[float] = []
        for sample in self.samples:
            if began_at <= sample.asked_at < ended_at:
                missed = int(sample.seconds / INTERVAL_S)
                found += [sample.seconds - INTERVAL_S * number for number in range(missed + 1)]
        return found


@contextmanager
def probing(port: int) -> Iterator[Probe]:
    """Probe the server on a port for the length of the block; the samples are there after it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_ask_until_told, args=(port, theirs), daemon=True)
    process.start()
    theirs.close()
    probe = Probe()
    try:
        if not ours.poll(START_S_MAX):
            raise TimeoutError("the probe did not start")
        ours.recv()
        yield probe
        ours.send(None)
        probe.samples = [Sample(*each) for each in ours.recv()]
    finally:
        process.terminate()
        process.join()


def _ask_until_told(port: int, pipe: Pipe) -> None:
    """Each request comes from another address, as behind a proxy."""
    addresses = map(str, itertools.cycle(ip_network("11.0.0.0/12").hosts()))
    samples: list[tuple[float, float]] = []
    pipe.send(None)
    while not pipe.poll(INTERVAL_S):
        with suppress(OSError), dial(port) as connection:
            due_at = time.perf_counter()
            while not pipe.poll():
                time.sleep(max(0.0, due_at - time.perf_counter()))
                prepared = request("GET", "/health", forwarded_for=next(addresses))
                received = bytearray()
                asked_at = time.perf_counter()
                connection.sendall(prepared)
                while answer_in(received) is None:
                    received += connection.recv(RECEIVE_BYTES) or _gone()
                ended_at = time.perf_counter()
                samples.append((asked_at, ended_at - asked_at))
                due_at = max(due_at + INTERVAL_S, ended_at)
            break
    pipe.send(samples)


def _gone() -> bytes:
    raise ConnectionError("the server closed the probe's connection")
