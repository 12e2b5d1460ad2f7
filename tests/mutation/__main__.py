"""Changes the core a little, many times, and runs the tests that should notice: `python -m tests.mutation --count 300`.

First all tests are run once, to see which of them come by which line (`watching.py`; `build/mutants/watched.json`, made
anew when code or tests have changed). A mutant is tried with the tests that come by its line, then with some seeds of
the simulation. Tests that start the server as a process see no lines, and are not asked: what only they would notice
counts as alive.

Each verdict is written to `build/mutants/verdicts.jsonl` as it comes, and a run that was ended goes on from there. A
mutant that was noticed is not tried again while its file is as it was; one that lived is, so that the same command
shows what a new test is worth. `known.toml` holds the mutants of which somebody has seen that no test can tell them
from the original, with the reason.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from random import Random
from tempfile import TemporaryDirectory

import msgspec

from tests.mutation.choice import chosen
from tests.mutation.mutants import Mutant, core_files, mutants_of
from tests.mutation.watching import WatchedTest
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

WATCHED = (
    *(f"tests/actors/{room}" for room in ("audit", "envelopes", "sessions", "trajectories")),
    "tests/persistence",
    "tests/central_command/http",
    "tests/central_command/commands",
    "tests/operations",
)
"""Where the tests are that have to do with the core."""

COPIED = ("actors", "central_command", "persistence", "tests", "bench", "docs", "pyproject.toml", "config.toml")
FOLDER = REPOSITORY / "build" / "mutants"
SIMULATION_TIMEOUT_S = 600.0
TEST_TIMEOUT_S = 30
"""Longer than any chosen test takes: one that is not done by then hangs."""
PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_trio.plugin", "-p", "_hypothesis_pytestplugin")


class Verdict(msgspec.Struct, frozen=True):
    """Whether a mutant was noticed, and by what; `file` is the digest of the original, `seconds` what it took."""

    mutant: Mutant
    file: str
    noticed_by: str | None
    seconds: float


def drawn(count: int, seed: int) -> list[Mutant]:
    """So many mutants, the same for the same seed and code, in the order of the draw: its first ones are a draw too."""
    every = [mutant for path in core_files(REPOSITORY, tuple(ROOMS)) for mutant in mutants_of(path, REPOSITORY)]
    return Random(seed).sample(every, min(count, len(every)))


def known() -> dict[str, str]:
    """Mutants that are no change, by `path: what` of their line's text, and why."""
    path = Path(__file__).with_name("known.toml")
    found: dict[str, str] = tomllib.loads(path.read_text())["equivalent"]
    return found


def key_of(mutant: Mutant) -> str:
    """What a mutant is called in `known.toml`: its file, the text of its line, and the change."""
    line = (REPOSITORY / mutant.path).read_text().splitlines()[mutant.line - 1].strip()
    return f"{mutant.path} | {line} | {mutant.what}"


def watched_tests() -> dict[str, WatchedTest]:
    """Which tests come by which lines: as it was noted, or noted now."""
    digest = sha256()
    for name in ("actors", "central_command", "persistence", "tests"):
        for path in sorted((REPOSITORY / name).rglob("*.py")):
            if path.parent != Path(__file__).parent:
                digest.update(path.read_bytes())
    noted = FOLDER / f"watched-{digest.hexdigest()[:16]}.json"
    if not noted.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = noted.with_suffix(".part")
        environment = {"WATCHED_ROOMS": os.pathsep.join(ROOMS), "WATCHED_TESTS": str(part)}
        _run(REPOSITORY, [*PYTEST, "-p", "tests.mutation.watching", *WATCHED], None, environment)
        part.rename(noted)
    return msgspec.json.decode(noted.read_bytes(), type=dict[str, WatchedTest])


def judge(mutant: Mutant, copy: Path, watched: Mapping[str, WatchedTest], seeds: int) -> str | None:
    """What notices the mutant, on a copy of the tree that has it."""
    path = copy / mutant.path
    original = path.read_bytes()
    room = "/".join(mutant.path.split("/")[:2])
    first = ROOMS.get(room) or ROOMS["/".join(mutant.path.split("/")[:3])]
    names, seconds = chosen(mutant, original, watched, first)
    path.write_bytes(mutant.applied(original))
    try:
        hang = ["-o", f"faulthandler_timeout={TEST_TIMEOUT_S}", "-o", "faulthandler_exit_on_timeout=true"]
        if names:
            said = _run(copy, [*PYTEST, "-x", f"--basetemp={copy}.tmp", *hang, *names], 60 + 10 * seconds)
            if said is not None:
                return said
        said = _run(copy, ["-m", "tests.simulation", "--seeds", str(seeds), "--jobs", "1"], SIMULATION_TIMEOUT_S)
        return None if said is None else f"the simulation: {said}"
    finally:
        path.write_bytes(original)


def _run(
    folder: Path, command: Sequence[str], timeout_s: float | None, environment: Mapping[str, str] | None = None
) -> str | None:
    """None where the command succeeds, else the last that it said."""
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={
                **os.environ,
                **PLUGINS,
                **(environment or {}),
                "PYTHONPATH": str(folder),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "time-out"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0] if lines else "time-out of a test" if "Timeout" in done.stderr else done.stdout[-200:]


def copied_to(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def noticed_before(verdicts: Path) -> dict[tuple[Mutant, str], Verdict]:
    """The mutants that an earlier run noticed, by what they and their files are."""
    if not verdicts.exists():
        return {}
    found = [msgspec.json.decode(line, type=Verdict) for line in verdicts.read_bytes().splitlines()]
    return {(verdict.mutant, verdict.file): verdict for verdict in found if verdict.noticed_by is not None}


def run(mutants: Sequence[Mutant], jobs: int, seeds: int) -> list[Verdict]:
    """Judge all, `jobs` at a time, each on a copy of its own."""
    watched = watched_tests()
    path = FOLDER / "verdicts.jsonl"
    before = noticed_before(path)
    with TemporaryDirectory() as root, path.open("ab", buffering=0) as written:
        copies: SimpleQueue[Path] = SimpleQueue()
        for index in range(jobs):
            folder = Path(root) / str(index)
            folder.mkdir()
            copies.put(copied_to(folder))

        def one(mutant: Mutant) -> Verdict:
            file = sha256((REPOSITORY / mutant.path).read_bytes()).hexdigest()
            if (mutant, file) in before:
                return before[mutant, file]
            copy = copies.get()
            began = time.monotonic()
            try:
                verdict = Verdict(mutant, file, judge(mutant, copy, watched, seeds), time.monotonic() - began)
            finally:
                copies.put(copy)
            written.write(msgspec.json.encode(verdict) + b"\n")
            said = verdict.noticed_by or "NOT NOTICED"
            sys.stdout.write(f"{mutant.path}:{mutant.line}: {mutant.what}: {said} ({verdict.seconds:.0f} s)\n")
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
    parser.add_argument("--seeds", type=int, default=20, help="of the simulation, where no test noticed it (20)")
    parser.add_argument("--share-max", type=float, default=0.03)
    options = parser.parse_args()
    equivalent = known()
    mutants = [mutant for mutant in drawn(options.count, options.seed) if key_of(mutant) not in equivalent]
    verdicts = run(mutants, options.jobs, options.seeds)
    alive = [verdict.mutant for verdict in verdicts if verdict.noticed_by is None]
    for mutant in alive:
        sys.stdout.write(f"alive: {key_of(mutant)}\n")
    share = len(alive) / max(1, len(verdicts))
    sys.stdout.write(f"{len(alive)} of {len(verdicts)} mutants were not noticed: {share:.1%}\n")
    sys.exit(share > options.share_max)


if __name__ == "__main__":
    main()
