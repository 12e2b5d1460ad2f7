"""Rules that hold for all of the code: what must not be written is looked for, not hoped for."""

import ast
import importlib
import itertools
import json
import pkgutil
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from central_command.curating.supervision import COMMAND
from tests.server_process import REPOSITORY

PACKAGES = ("persistence", "actors", "central_command")
SECRET_NAMES = re.compile(r"(?i)hmac|secret|signature|private_key|master_key|\bmac\b")
FORBIDDEN_IMPORTS = frozenset(
    {"pickle", "marshal", "shelve", "dill", "subprocess", "multiprocessing", "ctypes", "xml", "yaml", "pty", "code"}
)
FORBIDDEN_CALLS = re.compile(
    r"eval|exec|compile|__import__|os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*|fork\w*)"
    r"|ssl\._create_unverified_context|tempfile\.mktemp"
)
SQL = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|PRAGMA|ATTACH|DETACH|CREATE|DROP|ALTER)\s")
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*(?: \+ 1)?")
SQL_PIECES = {
    "persistence/databases/counters.py": {"table"},
    "persistence/databases/connection.py": {"waiting_ms"},
    "persistence/databases/opening.py": {"settings.wal_checkpoint_pages"},
    "persistence/databases/sqlite_database.py": {"'FULL' if durable else 'NORMAL'"},
    "persistence/databases/migrations.py": {"database"},
    "persistence/upkeep/rebuilding.py": {"schema", "table", "columns", "selected", "opening"},
    "persistence/upkeep/comparison.py": {"table", "listed", "order", "schema"},
    "persistence/upkeep/snapshot.py": {"database"},
    "persistence/upkeep/remains.py": {"quoted", "of"},
    "central_command/client/spool/spool.py": {"condition", "assignment", "only"},
}
"""What is put into SQL text other than by parameters and constants of a module, each looked at: names of tables and
columns that stand in the code, and numbers from the settings. A value that came from a client is in none of them."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Each module of the packages: its path from the repository, and its tree."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield str(path.relative_to(REPOSITORY)), ast.parse(path.read_text(), str(path))


def modules() -> Iterator[ModuleType]:
    """Each module of the packages, imported."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def test_nothing_secret_is_compared_with_an_operator() -> None:
    """`==` ends at the first difference, and its time tells where that was; only `hmac.compare_digest` compares."""
    found = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(
            SECRET_NAMES.search(ast.unparse(side)) and not ast.unparse(side).startswith("len(")
            for side in (node.left, *node.comparators)
            if not ast.unparse(side).isupper()
        )
    ]
    assert found == []
    digests = [path for path, tree in sources() if "hmac.compare_digest" in ast.unparse(tree)]
    assert digests == ["persistence/databases/access_file.py", "actors/envelopes/attestation.py"]


def test_nothing_runs_what_it_reads() -> None:
    """No evaluation, no pickles, no other programs, no temporary names that someone else can take.

    One module calls the C library: to have its allocator return memory, with no argument from anywhere. One starts
    processes: this interpreter with a module of this project. To that all is said through a pipe, or, to the command
    that exports, by options that were read and bounded before.
    """
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [f"{path}: {name.name}" for name in node.names if name.name.split(".")[0] in FORBIDDEN_IMPORTS]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_IMPORTS:
                found.append(f"{path}: {node.module}")
            elif isinstance(node, ast.Call) and FORBIDDEN_CALLS.fullmatch(ast.unparse(node.func)):
                found.append(f"{path}: {ast.unparse(node.func)}")
    assert found == [
        "central_command/process/allocator.py: ctypes",
        "central_command/process/children.py: subprocess",
    ]
    assert (sys.executable, "-m", "central_command.curating.worker") == COMMAND


def test_randomness_that_anything_relies_on_is_the_system_s() -> None:
    """`random` may shorten a client's wait; the server's layers do not know it."""
    users = {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import) and any(name.name == "random" for name in node.names)
    }
    assert {path for path in users if not path.startswith("central_command/client/")} == set()


def test_sql_is_fixed_text_and_values_are_parameters() -> None:
    """Whatever else than a constant is interpolated into SQL is on the list above, by file and by expression."""
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            text, pieces = interpolated(node)
            if SQL.match(text):
                allowed = SQL_PIECES.get(path, set())
                found += [
                    f"{path}: {piece}" for piece in pieces if piece not in allowed and not CONSTANT.fullmatch(piece)
                ]
    assert found == []


def is_looked_at(path: str, piece: str) -> bool:
    """Whether an expression may stand in SQL: a constant of a module, or one of the list."""
    return CONSTANT.fullmatch(piece) is not None or piece in SQL_PIECES.get(path, set())


def interpolated(node: ast.AST) -> tuple[str, list[str]]:
    """The fixed text of an expression that puts values into text, and those values' expressions; otherwise nothing."""
    match node:
        case ast.JoinedStr():
            text = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
            return text, [ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)]
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod() | ast.Add(), right=right):
            return text, [ast.unparse(right)]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format"), args=arguments):
            return text, [ast.unparse(argument) for argument in arguments]
        case _:
            return "", []


WATCH_IMPORTS = """
import json, sys
seen = []
calls = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostby", "socket.sendto")
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(calls) else None)
import importlib, pkgutil
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
print(json.dumps(sorted(set(seen))))
"""


def test_importing_reaches_no_network() -> None:
    """Neither this project's modules nor what they import connect, listen or look up a name when they are loaded."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH_IMPORTS, *PACKAGES],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def patterns() -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    """Each compiled pattern that a module keeps, with where it is."""
    seen = set()
    for module in modules():
        for name, value in vars(module).items():
            for pattern in value if isinstance(value, tuple) else (value,):
                if isinstance(pattern, re.Pattern) and id(pattern) not in seen:
                    seen.add(id(pattern))
                    yield f"{module.__name__}.{name}", pattern


LONG, LONGER = 2_000, 16_000
UNNOTICEABLE_S = 0.1
"""A pattern that takes no longer for the longer text is harmless whatever the ratio, which noise decides then."""
TEXTS = [*("aZ0_.:-/+= \n\t\\\"'[]{}()<>#*!|,é"), "a ", "0.", "\\u", "ab:", '{"', "<a ", "/a", "\r\n", "- ", "a=b "]


def seconds(pattern: "re.Pattern[Any]", text: str) -> float:
    """The least time of three that a pattern takes to look through a text and for all of it."""
    subject: Any = text.encode() if isinstance(pattern.pattern, bytes) else text
    best = float("inf")
    for _ in range(3):
        began_at = time.process_time()
        pattern.fullmatch(subject)
        pattern.search(subject)
        best = min(best, time.process_time() - began_at)
        if best < UNNOTICEABLE_S:
            break
    return best


@pytest.mark.measured
def test_no_pattern_takes_more_than_its_text_s_length() -> None:
    """Eight times the text takes at most some twenty times as long; a quadratic pattern takes 64, others never end."""
    found = []
    checked = 0
    for place, pattern in patterns():
        checked += 1
        for unit, tail in itertools.product(TEXTS, ("", "\x00", "!")):
            long, longer = (unit * (length // len(unit)) + tail for length in (LONG, LONGER))
            shorter_s = seconds(pattern, long)
            if shorter_s < 1 and (longer_s := seconds(pattern, longer)) < UNNOTICEABLE_S:
                continue
            if shorter_s >= 1 or longer_s > 20 * shorter_s:
                found.append(f"{place} on {unit!r} and {tail!r}")
    assert checked > 15, "the patterns were not found"
    assert found == []


@pytest.mark.parametrize("name", sorted(path.name for path in REPOSITORY.glob("requirements*.lock")))
def test_every_dependency_is_pinned_to_a_version_with_its_hashes(name: str) -> None:
    """Nothing is installed that was not seen when it was locked, from wherever an index may be."""
    text = (REPOSITORY / name).read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert requirements
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9_.-]+(\[[a-z,]+\])?==[^\s;*]+", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}(\s|$)", requirement), requirement
        assert "://" not in requirement
        assert not requirement.startswith("-")


def test_what_make_installs_is_installed_with_hashes_and_nothing_else() -> None:
    """`--require-hashes --no-deps`, and an own build without an environment that would fetch its tools."""
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "--require-hashes --no-deps" in makefile
    installs = [line for line in makefile.splitlines() if re.search(r"\bpip\b.* install\b", line)]
    for line in installs:
        assert "--require-hashes" in line or ("--no-deps" in line and "--no-build-isolation" in line), line
    assert installs


def test_the_locked_versions_are_those_that_are_tested() -> None:
    """The development lock adds to the runtime lock and changes nothing of it, and that of the readers to both.

    What exports need is a part of it.
    """

    def versions(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==(\S+)", path.read_text(), re.MULTILINE))

    names = ("requirements.lock", "requirements-dev.lock", "requirements-readers.lock")
    runtime, development, readers = (versions(REPOSITORY / name) for name in names)
    assert runtime.items() <= development.items() <= readers.items()
    assert versions(REPOSITORY / "requirements-export.lock").items() <= development.items()
