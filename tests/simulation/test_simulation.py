"""The whole service in one process, seed by seed: no fault loses, doubles or lets in anything (docs/reliability.md)."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from unittest import mock

import pytest

from tests.simulation import simulate as simulation
from tests.simulation.faults import life_plans
from tests.simulation.report import Report, repeat_command, run_in_processes
from tests.simulation.sabotage import HARMLESS, SABOTAGES
from tests.simulation.simulate import simulate

SEEDS = 500
"""`make simulate` runs as many more as it is told."""
PROCESSES = 2
SABOTAGE_SEEDS = 200
EVENTS_SHOWN = 40
LOST = (
    "is lost|twice|refused|acknowledged as|checksum|whole line|damage|databases have seen|credits are|verify|"
    "cannot be read"
)
"""What is noticed without looking at the disk when an answer comes."""
ROOT = Path(__file__).resolve().parents[2]

MET_OFTEN = (
    "EIO on",
    "ENOSPC on",
    "SQLite commits undone",
    "changed bytes",
    "copies marked",
    "copies of one or two steps marked",
    "client time-outs",
    "clock jumps ahead",
    "clock jumps back",
    "crashed states recovered twice",
    "disconnect cut_short",
    "disconnect gone",
    "disk full, later free",
    "embedder cannot be loaded",
    "embedder fails",
    "embedder hangs",
    "kill after",
    "kill before",
    "kill halfway",
    "power failure after",
    "power failure before",
    "power failure halfway",
    "recovery interrupted",
    "slow disk",
    "unsynced: garbage",
    "unsynced: kept",
    "unsynced: lost",
    "unsynced: prefix",
    "unsynced: sectors",
)
"""Kinds of faults of which every run of all seeds must have met some: what is never met is not tested."""


def test_all_seeds_hold() -> None:
    """Nothing is violated in any seed, and every kind of fault was met."""
    total = Report(seeds=0, counts={}, failed=[])
    for report in run_in_processes(range(1, SEEDS + 1), PROCESSES):
        total = total.plus(report)
        for outcome in report.failed:
            events = "\n".join(outcome.events[-EVENTS_SHOWN:])
            pytest.fail(f"{events}\n{outcome.violations}\nrepeat it with: {repeat_command(outcome.seed)}")
    assert total.seeds == SEEDS
    never = [kind for kind in MET_OFTEN if not any(name.startswith(kind) for name in total.counts)]
    assert not never, f"these faults were never met: {never}"


def test_a_seed_gives_the_same_events_each_time() -> None:
    """Also in another process, where hashes and addresses are others: byte for byte."""
    script = (
        "import hashlib; from tests.simulation.simulate import simulate\n"
        "for seed in range(1, 9): print(hashlib.sha256('\\n'.join(simulate(seed).events).encode()).hexdigest())"
    )
    here = [[sha256("\n".join(simulate(seed).events).encode()).hexdigest() for seed in range(1, 9)] for _ in range(2)]
    there = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert here[0] == here[1] == there.stdout.split()
    assert len(set(here[0])) == 8


def test_what_is_made_once_changes_nothing() -> None:
    """With tables, routes and types made anew in each life, a seed gives the same events, byte for byte."""
    made_once = [simulate(seed).events for seed in range(1, 4)]
    with mock.patch.object(simulation, "made_once", nullcontext):
        assert [simulate(seed).events for seed in range(1, 4)] == made_once


ABOUT_SYNCS = ("no sync", "acknowledge early", "no folder sync", "keys are not synced")


@pytest.mark.parametrize(
    ("name", "blind"), [*((name, False) for name in SABOTAGES), *((name, True) for name in ABOUT_SYNCS)]
)
def test_a_guarantee_taken_away_is_noticed(name: str, *, blind: bool) -> None:
    """Within 200 seeds, and for what it is; also (blind) without looking at the disk when an answer comes."""
    for seed in range(1, SABOTAGE_SEEDS + 1):
        violations = "\n".join(simulate(seed, name, blind=blind).violations)
        if re.search(LOST if blind else SABOTAGES[name].noticed, violations):
            return
    pytest.fail(f"{name} was not noticed in {SABOTAGE_SEEDS} seeds")


@pytest.mark.parametrize("name", HARMLESS)
def test_a_guarantee_with_another_behind_it_may_be_taken_away(name: str) -> None:
    """Credits that are replayed are given once all the same, because a session is credited once."""
    for seed in range(1, 31):
        violations = simulate(seed, name).violations
        # Rows' numbers are compared elsewhere, and a replay leaves some of them out.
        assert [each for each in violations if "credits are" in each or "balances are" in each] == []


def test_lives_are_drawn_from_the_seed_alone() -> None:
    assert life_plans(5) == life_plans(5)
    assert life_plans(5) != life_plans(6)
