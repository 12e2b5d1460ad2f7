"""Everything at once, for as long as one likes: `python -m tests.hostile.soak --minutes 60`.

Agents as published clients drive them behind three addresses, one session after the other; the attacks of this folder
one after the other; a session as large as one may be, closed; kills, restarts and `verify` in between. What comes of it
is written as JSON: the share of steps that is stored, `/health` under each load (asked by a process that does nothing
else), memory at rest, findings of `verify`.
"""

import argparse
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import trio

from bench.probe import Probe, probing
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.published_agents import Connection, Made, PublishedAgent
from tests.hostile.stored import closed_sessions, credited_sessions, stored_steps
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess, free_port, run_command
from tests.signing_client import SigningClient, dumps

SETTINGS = {
    "CENTRAL_COMMAND__HTTP__LIMITS_ENABLED": "true",
    "CENTRAL_COMMAND__EMBEDDING__ENABLED": "true",
}
FLEETS = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
AGENTS_EACH = 10
REST_S = 15.0
LARGE_CHUNKS = 180
LARGE_STEPS = 14
LARGE_STEP_CHARS = 99_000


class Report(msgspec.Struct):
    """What a soak saw. Seconds, MiB; `health_p99_s` and `rss_mib_at_rest` by what went on."""

    minutes: float
    sessions: int = 0
    sessions_closed: int = 0
    sessions_credited: int = 0
    steps_made: int = 0
    steps_stored: int = 0
    envelopes_dropped: int = 0
    kills: int = 0
    restarts: int = 0
    answers: dict[str, int] = {}
    health_p99_s: dict[str, float] = {}
    rss_mib_at_rest: list[float] = []
    rss_mib_max: dict[str, float] = {}
    verify_findings: list[str] = []
    seconds_by_load: dict[str, float] = {}


class Soak:
    """One run against one server; `attacks` by name, each `attack_s` long."""

    def __init__(
        self, server: ServerProcess, port: int, attacks: Mapping[str, Attack], *, attack_s: float, seed: int
    ) -> None:
        self._server = server
        self._port = port
        self._attacks = attacks
        self._attack_s = attack_s
        self._random = Random(seed)
        self._load = "agents only"
        self._spans: list[tuple[str, float, float]] = []
        """What went on from when to when (`time.perf_counter`)."""
        self._made: list[Made] = []
        self._number = 0
        self._is_up = trio.Event()
        self.report = Report(minutes=0)

    async def run(self, minutes: float) -> None:
        """Run, stop the server in order, and check what is stored."""
        began = time.monotonic()
        deadline = trio.current_time() + minutes * 60
        self._is_up.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sample)
            async with trio.open_nursery() as fleets:
                for source in FLEETS:
                    for index in range(AGENTS_EACH):
                        fleets.start_soon(self._agents, source, deadline, index * 3.0)
                await self._loads(deadline)
            nursery.cancel_scope.cancel()
        self.report.minutes = (time.monotonic() - began) / 60
        await trio.to_thread.run_sync(self._finish)

    async def _agents(self, source: str, deadline: float, delay_s: float) -> None:
        """One session after the other, until the time is over; each is brought to its end."""
        await trio.sleep(delay_s)
        while trio.current_time() < deadline:
            self._number += 1
            agent = PublishedAgent(f"{self._number}", self._port, source=source, random=Random(self._number))
            self._made.append(agent.made)
            chunks = self._random.randint(3, 12)
            await agent.run(chunks=chunks, steps=self._random.randint(5, 60), pause_s=4.0)

    async def _loads(self, deadline: float) -> None:
        """One load after the other, with a rest, a kill or a restart in between."""
        loads: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            (name, partial(attack, self._port, self._attack_s)) for name, attack in self._attacks.items()
        ]
        loads += [("closing the largest session", self._large_session), ("verify", self._verify)]
        endings = [self._kill, self._restart, self._rest, self._rest]
        turn = 0
        while trio.current_time() < deadline:
            name, load = loads[turn % len(loads)]
            await self._during(name, load)
            await self._during("agents only", self._rest)
            await endings[turn % len(endings)]()
            turn += 1

    async def _during(self, name: str, load: Callable[[], Awaitable[None]]) -> None:
        began = time.perf_counter()
        self._load = name
        try:
            await load()
        finally:
            ended = time.perf_counter()
            self._spans.append((name, began, ended))
            seconds = self.report.seconds_by_load
            seconds[name] = seconds.get(name, 0.0) + ended - began
            self._load = "agents only"

    def take_samples(self, probe: Probe) -> None:
        """Report what a probe saw under each load."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for name, began, ended in self._spans:
            found[name] += probe.between(began, ended)
        self.report.health_p99_s = {load: _p99(seconds) for load, seconds in found.items() if seconds}

    async def _rest(self) -> None:
        await trio.sleep(REST_S)
        self.report.rss_mib_at_rest.append(self._server.rss_anon_mib)

    async def _kill(self) -> None:
        self.report.kills += 1
        await self._without_server(self._server.kill)

    async def _restart(self) -> None:
        self.report.restarts += 1
        await self._without_server(self._server.terminate)

    async def _without_server(self, end: Callable[[], object]) -> None:
        self._is_up = trio.Event()
        await trio.to_thread.run_sync(end)
        await trio.to_thread.run_sync(self._server.start)
        self._is_up.set()

    async def _verify(self) -> None:
        """Beside the running server."""
        await trio.to_thread.run_sync(self._find)

    def _find(self) -> None:
        root = self._server.data_directory
        done = run_command("verify", "--data-dir", str(root), cwd=root.parent, timeout_s=1_800)
        if done.returncode:
            self.report.verify_findings += (done.stdout + done.stderr).splitlines()

    async def _large_session(self) -> None:
        """A session of some 250 MB, which its own address opens, and whose close stitches it."""
        self._number += 1
        client = SigningClient(f"sess_large_{self._number}")
        async with Connection(self._port, source="127.0.1.9") as connection:
            _, answer = await connection.request("POST", OPEN, dumps(client.opening()).encode())
            client.opened(answer["server_public_key"])
            text = "x" * LARGE_STEP_CHARS
            for _ in range(LARGE_CHUNKS):
                log = [client.step(content=text) for _ in range(LARGE_STEPS)]
                await connection.request("POST", INGEST, client.chunk_of(log))
            await connection.request("POST", INGEST, client.close())
            await connection.request("POST", CLOSE, dumps({"session_id": client.session_id}).encode())

    async def _sample(self) -> None:
        while True:
            await self._is_up.wait()
            try:
                now = self._server.rss_anon_mib
            except (OSError, AssertionError):
                now = 0.0
            largest = self.report.rss_mib_max
            largest[self._load] = max(largest.get(self._load, 0.0), now)
            await trio.sleep(1.0)

    def _finish(self) -> None:
        """Stop in order, verify, and count what is stored against what was made."""
        self._server.terminate()
        self._find()
        report, root = self.report, self._server.data_directory
        stored, closed, credited = stored_steps(root), closed_sessions(root), credited_sessions(root)
        answers: Counter[str] = Counter()
        for made in self._made:
            answers.update(made.answers)
            if made.opened:
                report.sessions += 1
                report.sessions_closed += made.session_id in closed
                report.sessions_credited += made.session_id in credited
                report.steps_made += made.steps
                report.steps_stored += stored.get(made.session_id, 0)
                report.envelopes_dropped += made.dropped
        report.answers = dict(answers.most_common())


def _p99(seconds: list[float]) -> float:
    return round(sorted(seconds)[math.ceil(len(seconds) * 0.99) - 1], 4)


def soak(*, minutes: float, attack_s: float, root: Path, attacks: Mapping[str, Attack], seed: int) -> Report:
    """Run a server on `root` and soak it."""
    port = free_port()
    server = ServerProcess(root, settings=SETTINGS, options=["--port", str(port)])
    with server:
        run = Soak(server, port, attacks, attack_s=attack_s, seed=seed)
        with probing(port) as probe:
            trio.run(run.run, minutes)
        run.take_samples(probe)
    return run.report


def main() -> None:
    """Run from a shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--attack-s", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = soak(
            minutes=options.minutes,
            attack_s=options.attack_s,
            root=Path(folder) / "data",
            attacks=ATTACKS,
            seed=options.seed,
        )
    text = msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"
    if options.json is not None:
        options.json.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
