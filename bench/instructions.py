"""Instructions that the steps of an envelope's way take, counted by valgrind (callgrind) in one thread.

Unlike times they do not depend on what else the machine does. They say nothing of the kernel, of waiting, or of how
many instructions the processor does in a cycle. A step is counted by running it a thousand times more than in a run
that is otherwise the same. `python -m bench.instructions --help` says what can be chosen.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import h11
import trio

from actors.envelopes.attestation import verify_received
from actors.envelopes.journal_lines import accepted_line
from actors.envelopes.refusals import Refusal
from actors.envelopes.schema import check
from actors.envelopes.settings import SchemaSettings
from actors.sessions.environment import RandomIdentifiers
from actors.sessions.outcomes import Accepted
from bench.http1 import HEAD_END, INGEST, request
from bench.report import Measurement, Report, publish
from bench.sessions import LARGE, MEDIUM, SMALL, BenchSession, ChunkSize, Logs
from central_command.client.contract.signing import SessionKey
from central_command.http.connections.repeated import AnswerHeads, repeated_head
from central_command.http.endpoints.ingest import EnvelopeReader
from central_command.http.requests.replies import Replies
from central_command.http.settings import HttpSettings
from persistence.databases.projection import EnvelopeProjection
from persistence.format.records import Committed, Position

TIMES: Final = 1_000
"""How often a step is done in the run that counts it."""
SIZES: Final = {size.name: size for size in (SMALL, MEDIUM, LARGE)}
BY_SIZE: Final = ("reading and checking", "HMAC", "making its line")
"""The steps that depend on the envelope's size."""

_COLLECTED = re.compile(rb"Collected : ([0-9]+)")


def steps_of(size: ChunkSize) -> dict[str, Callable[[], object]]:
    """The steps by name, each ready to be done any number of times."""
    session = BenchSession(Logs(size))
    session.opened(SessionKey().public_key)
    body = session.chunks(1)[0]
    schema, clock = SchemaSettings(), time.time
    read = EnvelopeReader(schema, clock)
    envelope = read(body)
    assert not isinstance(envelope, Refusal)
    facts = check(envelope, schema, clock())
    assert not isinstance(facts, Refusal)
    names, replies = RandomIdentifiers(), Replies(HttpSettings())
    heads = AnswerHeads(lambda: [(b"date", b"Fri, 20 Nov 2026 12:00:00 GMT")])
    record = accepted_line(envelope, facts, names.envelope_id(), 0).record
    committed = [Committed(record, Position(n=1, day="2026-11-20", offset=0, length=len(body), at=clock()))]
    projection = EnvelopeProjection()
    answered = replies.ingested(Accepted(names.envelope_id()))
    return {
        "comparing the head": _comparing(body),
        "reading and checking": partial(read, body),
        "HMAC": partial(verify_received, b"k" * 32, envelope),
        "making its line": lambda: accepted_line(envelope, facts, names.envelope_id(), 0),
        "summing it up for the index": partial(projection.add, committed),
        "making the answer": lambda: replies.ingested(Accepted("env_0190f2c4-0000-4000-8000-000000000000")),
        "writing the answer's head": partial(heads.of, answered),
    }


def _comparing(body: bytes) -> Callable[[], object]:
    """Comparing heads that differ in the client's address."""
    requests = [request("POST", INGEST, body, forwarded_for=f"10.0.0.{number}") for number in (1, 2)]
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(requests[0])
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    scope: Any = {"method": "POST", "path": INGEST, "headers": list(event.headers)}
    head = requests[0][: requests[0].index(HEAD_END) + len(HEAD_END)]
    seen = repeated_head(head, event, scope, 16_384)
    assert seen is not None
    others = cycle(requests)
    return lambda: seen.match(next(others))


async def _turns(times: int) -> None:
    """Turns of the event loop, with one task and nothing to wait for."""
    for _ in range(times):
        await trio.lowlevel.cancel_shielded_checkpoint()


def inside(size: str, times: Mapping[str, int]) -> None:
    """What runs under valgrind: every step as often as asked."""
    trio.run(_turns, times.get("a turn of the event loop", 1))
    for name, step in steps_of(SIZES[size]).items():
        for _ in range(times.get(name, 1)):
            step()


def counted(size: str, step: str = "") -> int:
    """Instructions of a run at one size in which `step` is done so often and everything else once."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m", __spec__.name]
    # The same hashes in all runs, so that dictionaries are laid out alike.
    environ = os.environ | {"PYTHONHASHSEED": "0"}
    found = subprocess.run([*command, "--inside", size, step], env=environ, capture_output=True, check=True)
    collected = _COLLECTED.search(found.stderr)
    if collected is None:
        raise RuntimeError(f"valgrind counted nothing: {found.stderr[-500:]!r}")
    return int(collected[1])


def main() -> int:
    """Count and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        size, step = options.inside
        inside(size, {step: TIMES})
        return 0
    if shutil.which("valgrind") is None:
        print("Instructions are counted by valgrind, which is not installed.", file=sys.stderr)
        return 1
    figures: dict[str, dict[str, float]] = {}
    for size in options.sizes:
        names = BY_SIZE if size != SMALL.name else ("a turn of the event loop", *steps_of(SMALL))
        once = counted(size)
        for name in names:
            figures.setdefault(name, {})[size] = (counted(size, name) - once) / (TIMES - 1)
    publish(Report("instructions", [Measurement(*each) for each in figures.items()]), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
