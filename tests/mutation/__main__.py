"""Changes the core a little, many times, and runs the tests that should notice: `python -m tests.mutation --count 300`.

A mutant that the tests of its own room pass is tried again with those of the whole core and some seeds of the
simulation. What then still lives is printed; `known.toml` holds those of which somebody has seen that no test can tell
them from the original, with the reason.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from random import Random
from tempfile import TemporaryDirectory

import msgspec

from tests.mutation.mutants import Mutant, core_files, mutants_of
from tests.server_process import REPOSITORY

ROOMS: dict[str, tuple[str, ...]] = {
    "actors/envelopes": ("tests/actors/envelopes", "tests/actors/sessions"),
    "actors/trajectories": ("tests/actors/trajectories", "tests/actors/sessions/test_closing.py"),
    "actors/sessions": ("tests/actors/sessions",),
    "persistence/journals": ("tests/persistence/journals", "tests/persistence/upkeep"),
    "persistence/databases": ("tests/persistence/databases", "tests/actors/sessions"),
    "persistence/files": ("tests/persistence/files", "tests/persistence/journals"),
    "persistence/keys": ("tests/persistence/keys",),
    "persistence/format": ("tests/persistence",),
    "persistence/upkeep": ("tests/persistence/upkeep", "tests/central_command/commands"),
    "central_command/http/requests": ("tests/central_command/http",),
}
"""Rooms of the core, and the tests that look at each first."""

EVERYTHING = ("tests/actors", "tests/persistence", "tests/central_command/http", "tests/operations", "tests/security")
COPIED = ("actors", "central_command", "persistence", "tests", "bench", "docs", "pyproject.toml", "config.toml")
TEST_TIMEOUT_S = 900.0
SEEDS = 60


class Verdict(msgspec.Struct, frozen=True):
    """Whether a mutant was noticed, and by what."""

    mutant: Mutant
    noticed_by: str | None


def drawn(count: int, seed: int) -> list[Mutant]:
    """So many mutants, as many of each room as its share of all, the same for the same seed and code."""
    every = [mutant for path in core_files(REPOSITORY, tuple(ROOMS)) for mutant in mutants_of(path, REPOSITORY)]
    return sorted(Random(seed).sample(every, min(count, len(every))))


def known() -> dict[str, str]:
    """Mutants that are no change, by `path: what` of their line's text, and why."""
    path = Path(__file__).with_name("known.toml")
    found: dict[str, str] = tomllib.loads(path.read_text())["equivalent"]
    return found


def key_of(mutant: Mutant) -> str:
    """What a mutant is called in `known.toml`: its file, the text of its line, and the change."""
    line = (REPOSITORY / mutant.path).read_text().splitlines()[mutant.line - 1].strip()
    return f"{mutant.path} | {line} | {mutant.what}"


def judge(mutant: Mutant, copy: Path) -> Verdict:
    """Run the tests on a copy of the tree that has the mutant in it."""
    path = copy / mutant.path
    original = path.read_bytes()
    path.write_bytes(mutant.applied(original))
    try:
        room = "/".join(mutant.path.split("/")[:2])
        first = ROOMS.get(room) or ROOMS["/".join(mutant.path.split("/")[:3])]
        if _fails(copy, ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *first]):
            return Verdict(mutant, "its room's tests")
        if _fails(copy, ["-m", "tests.simulation", "--seeds", str(SEEDS), "--jobs", "1"]):
            return Verdict(mutant, "the simulation")
        if _fails(copy, ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *EVERYTHING]):
            return Verdict(mutant, "the core's tests")
        return Verdict(mutant, None)
    finally:
        path.write_bytes(original)


def _fails(copy: Path, command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=TEST_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def copied_to(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def run(mutants: Sequence[Mutant], jobs: int) -> list[Verdict]:
    """Judge all, `jobs` at a time, each on a copy of its own."""
    with TemporaryDirectory() as root:
        copies: SimpleQueue[Path] = SimpleQueue()
        for index in range(jobs):
            folder = Path(root) / str(index)
            folder.mkdir()
            copies.put(copied_to(folder))

        def one(mutant: Mutant) -> Verdict:
            copy = copies.get()
            try:
                verdict = judge(mutant, copy)
            finally:
                copies.put(copy)
            said = verdict.noticed_by or "NOT NOTICED"
            sys.stdout.write(f"{mutant.path}:{mutant.line}: {mutant.what}: {said}\n")
            sys.stdout.flush()
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, mutants))


def main() -> None:
    """Run from a shell; the exit status is 1 when more live than are allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--share-max", type=float, default=0.03)
    options = parser.parse_args()
    equivalent = known()
    mutants = [mutant for mutant in drawn(options.count, options.seed) if key_of(mutant) not in equivalent]
    verdicts = run(mutants, options.jobs)
    alive = [verdict.mutant for verdict in verdicts if verdict.noticed_by is None]
    for mutant in alive:
        sys.stdout.write(f"alive: {key_of(mutant)}\n")
    share = len(alive) / max(1, len(verdicts))
    sys.stdout.write(f"{len(alive)} of {len(verdicts)} mutants were not noticed: {share:.1%}\n")
    sys.exit(share > options.share_max)


if __name__ == "__main__":
    main()
