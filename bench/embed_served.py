"""What the embedding endpoint costs over HTTP, and what it costs ingestion.

- `unique texts`: texts a second over 16 connections, over those of a bare loop over `InferenceSession.run` on the same
  texts with the same threads and bounds (`bench.embed`), in turns.
- `cached text`: a text that is in memory, against the endpoint's cheapest answer (a 400), over 16 connections.
- `client start`: 46 texts one after the other on one connection, the first time and again.
- `ingest beside it`: p99 of ingest over 8 connections while 32 others keep the embedder busy, over p99 without them.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.embedding.loading import load_engine
from actors.embedding.settings import EmbeddingSettings
from bench.embed import bare_loop, make_texts
from bench.http1 import Connection, drive, request
from bench.ingest import open_sessions, queues_for
from bench.processes import Process, running_server
from bench.report import Measurement, Report, medians, percentile, publish
from bench.sessions import MEDIUM, Logs

EMBED: Final = "/v1/embed"
CONNECTIONS: Final = 16
TEXTS: Final = 480
START_TEXTS: Final = 46
CACHED_REQUESTS: Final = 3_200
INGEST_CONNECTIONS: Final = 8
EMBED_CONNECTIONS: Final = 32
ENVELOPES: Final = 800


def body(text: str) -> bytes:
    """A request as clients send it."""
    return json.dumps({"input": text, "model": "BAAI/bge-base-en-v1.5"}).encode()


def wait_for_model(server: Process) -> None:
    """Ask until there is a model."""
    with Connection(server.port) as connection:
        while connection.ask("GET", "/ready").json()["checks"]["embedding"] != "ok":
            pass


def unique_texts(server: Process, rounds: int) -> Measurement:
    """Served and bare, in turns."""
    settings = EmbeddingSettings()
    with tempfile.TemporaryDirectory(prefix="bench-models-") as models:
        engine = load_engine(settings, Path(models), lambda: False)
        found = []
        for number in range(rounds):
            texts = make_texts(TEXTS, seed=1_000 + number)
            requests = [request("POST", EMBED, body(text)) for text in texts]
            load = drive(server.port, [requests[lane::CONNECTIONS] for lane in range(CONNECTIONS)])
            if load.refused:
                raise RuntimeError(load.first_refusal)
            served, bare = load.accepted / load.seconds, bare_loop(engine, texts, settings)
            found.append({"rate_per_s": served, "bare_per_s": bare, "ratio": served / bare})
    return Measurement("unique texts", medians(found))


def cached_text(server: Process, rounds: int) -> Measurement:
    """A cached text and a 400, in turns."""
    found = []
    for _ in range(rounds):
        seconds = {}
        for name, content in (("cached", body("health check")), ("refused", b"{}")):
            queue = [request("POST", EMBED, content)] * (CACHED_REQUESTS // CONNECTIONS)
            seconds[name] = drive(server.port, [queue] * CONNECTIONS).seconds / CACHED_REQUESTS
        found.append(
            {
                "cached_ms": seconds["cached"] * 1_000,
                "refused_ms": seconds["refused"] * 1_000,
                "ratio": seconds["cached"] / seconds["refused"],
            }
        )
    return Measurement("cached text", medians(found))


def client_start(server: Process, rounds: int) -> Measurement:
    """New texts each round, asked for twice."""
    found = []
    for number in range(rounds):
        texts = make_texts(START_TEXTS, seed=2_000 + number)
        with Connection(server.port) as connection:
            seconds = [sum(connection.ask_ok("POST", EMBED, body(text)).seconds for text in texts) for _ in range(2)]
        found.append({"first_s": seconds[0], "again_s": seconds[1], "ratio": seconds[0] / seconds[1]})
    return Measurement("client start", medians(found))


def keep_busy(port: int, seed: int) -> None:
    """Ask for new texts over 32 connections until this process is ended."""
    while True:
        texts = make_texts(64 * EMBED_CONNECTIONS, seed)
        seed += 1
        requests = [request("POST", EMBED, body(text)) for text in texts]
        drive(port, [requests[lane::EMBED_CONNECTIONS] for lane in range(EMBED_CONNECTIONS)])


@contextmanager
def saturated(server: Process, seed: int) -> Iterator[None]:
    """The embedder has more to do than it can."""
    load = multiprocessing.get_context("spawn").Process(target=keep_busy, args=(server.port, seed), daemon=True)
    load.start()
    with Connection(server.port) as connection:
        # Until the load is really there: a new text then has to wait behind others.
        while connection.ask("POST", EMBED, body(f"probe {seed} {load.pid}")).seconds < 0.05:
            seed += 1
    try:
        yield
    finally:
        load.kill()
        load.join()


def ingest_beside_it(server: Process, rounds: int) -> Measurement:
    """Ingest alone and beside a busy embedder, in turns."""
    logs = Logs(MEDIUM)
    found = []
    for number in range(rounds):
        p99_s, p50_s = {}, {}
        for name in ("alone", "beside"):
            queues = queues_for(open_sessions(server.port, INGEST_CONNECTIONS, logs), INGEST_CONNECTIONS, ENVELOPES)
            if name == "alone":
                load = drive(server.port, queues)
            else:
                with saturated(server, 10_000 + 1_000 * number):
                    load = drive(server.port, queues)
            if load.refused:
                raise RuntimeError(load.first_refusal)
            p99_s[name] = percentile(load.latencies_s, 0.99)
            p50_s[name] = percentile(load.latencies_s, 0.5)
        found.append(
            {
                "alone_p50_ms": p50_s["alone"] * 1_000,
                "beside_p50_ms": p50_s["beside"] * 1_000,
                "alone_p99_ms": p99_s["alone"] * 1_000,
                "beside_p99_ms": p99_s["beside"] * 1_000,
                "ratio": p99_s["beside"] / p99_s["alone"],
            }
        )
    return Measurement("ingest beside it", medians(found))


def memory(server: Process) -> Measurement:
    """The whole server with its model, after all of the above."""
    return Measurement("whole server", {"rss_mb": server.memory_bytes() / 2**20})


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the report to this file as well")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as root,
        running_server(Path(root) / "data") as server,
    ):
        wait_for_model(server)
        measurements = [
            client_start(server, options.rounds),
            cached_text(server, options.rounds),
            unique_texts(server, options.rounds),
            memory(server),
            ingest_beside_it(server, options.rounds),
        ]
    publish(Report("embeddings served", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
