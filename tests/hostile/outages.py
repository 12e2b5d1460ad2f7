"""Agents of one address through what happens to a server: `python -m tests.hostile.outages --agents 100 --outage-s 30`.

They begin within half a minute and send as published clients do. Meanwhile the server is stopped and started (a rolling
restart), killed and gone for a while, and its disk is full for a while and then free again. What is asked afterwards is
how many of the steps that the agents made are stored, and whether every session is closed and credited.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import trio

from tests.hostile.published_agents import Made, PublishedAgent, run_fleet
from tests.hostile.stored import closed_sessions, credited_sessions, stored_steps
from tests.server_process import ServerProcess, free_port
from tests.small_disk import CannotMountError, fill_up, mounted

SETTINGS = {"CENTRAL_COMMAND__HTTP__LIMITS_ENABLED": "true"}
ADDRESS = "127.0.2.1"
DISK_MIB = 256


class Endured(msgspec.Struct, kw_only=True):
    """What came of it; `stored_share` is the share of the steps made that stands in trajectories."""

    sessions: int
    not_opened: int
    closed: int
    credited: int
    steps_made: int
    steps_stored: int
    dropped: int
    answers: dict[str, int]

    @property
    def stored_share(self) -> float:
        """From 0 to 1."""
        return self.steps_stored / max(1, self.steps_made)


async def endure(server: ServerProcess, agents: list[PublishedAgent], *, plan: "Plan", filler: Path | None) -> None:
    """Run the agents to their ends, through what the plan has in store."""

    async def troubles() -> None:
        await trio.sleep(plan.start_s)
        await trio.to_thread.run_sync(server.terminate)
        await trio.to_thread.run_sync(server.start)
        await trio.sleep(plan.rest_s)
        await trio.to_thread.run_sync(server.kill)
        await trio.sleep(plan.outage_s)
        await trio.to_thread.run_sync(server.start)
        await trio.sleep(plan.rest_s)
        if filler is not None:
            await trio.to_thread.run_sync(fill_up, filler)
            await trio.sleep(plan.full_s)
            await trio.to_thread.run_sync(filler.unlink)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(troubles)
        await run_fleet(agents, start_s=plan.start_s, chunks=plan.chunks, steps=plan.steps, pause_s=plan.pause_s)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long each thing takes, in seconds, and what each agent makes."""

    agents: int
    start_s: float
    rest_s: float
    outage_s: float
    full_s: float
    chunks: int
    steps: int
    pause_s: float


@contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """A file system of its own on `folder`; False, and none, where this process may not mount one."""
    with ExitStack() as stack:
        try:
            stack.enter_context(mounted(folder, size_bytes=DISK_MIB * 1_048_576))
        except CannotMountError:
            yield False
        else:
            yield True


def run(folder: Path, plan: Plan, *, seed: int) -> Endured:
    """Run a server and the agents, stop in order, and count what is stored."""
    with disk(folder / "disk") as is_small:
        root = folder / "disk" / "data"
        port = free_port()
        with ServerProcess(root, settings=SETTINGS, options=["--port", str(port)]) as server:
            agents = [
                PublishedAgent(f"{seed}_{index}", port, source=ADDRESS, random=Random(f"{seed} {index}"))
                for index in range(plan.agents)
            ]
            filler = folder / "disk" / "filler" if is_small else None
            trio.run(lambda: endure(server, agents, plan=plan, filler=filler))
            server.terminate()
        return _endured(root, [agent.made for agent in agents])


def _endured(root: Path, made: list[Made]) -> Endured:
    stored, closed, credited = stored_steps(root), closed_sessions(root), credited_sessions(root)
    opened = [each for each in made if each.opened]
    answers: Counter[str] = Counter()
    for each in made:
        answers.update(each.answers)
    return Endured(
        sessions=len(opened),
        not_opened=len(made) - len(opened),
        closed=sum(each.session_id in closed for each in opened),
        credited=sum(each.session_id in credited for each in opened),
        steps_made=sum(each.steps for each in opened),
        steps_stored=sum(stored.get(each.session_id, 0) for each in opened),
        dropped=sum(each.dropped for each in opened),
        answers=dict(answers.most_common()),
    )


def main() -> None:
    """Run from a shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--outage-s", type=float, default=30)
    parser.add_argument("--full-s", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    plan = Plan(
        agents=options.agents,
        start_s=40,
        rest_s=25,
        outage_s=options.outage_s,
        full_s=options.full_s,
        chunks=20,
        steps=40,
        pause_s=7,
    )
    with TemporaryDirectory() as folder:
        endured = run(Path(folder), plan, seed=options.seed)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(endured), indent=1).decode() + "\n")
    sys.stdout.write(f"{endured.stored_share:.2%} of the steps are stored\n")


if __name__ == "__main__":
    main()
