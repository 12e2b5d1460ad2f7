"""Nothing is told to anybody: the one library that would do so is loaded in one place, which has it switched off."""

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from actors.embedding.loading import load_engine
from actors.embedding.settings import EmbeddingSettings
from actors.embedding.source import installed_model
from tests.server_process import REPOSITORY

LIBRARY = "onnxruntime"
IMPORTED_BY = {"actors/embedding/onnx_runtime.py"}

EMBEDS = """
import sys
from pathlib import Path
from actors.embedding.loading import load_engine
from actors.embedding.settings import EmbeddingSettings
engine = load_engine(EmbeddingSettings(), Path(sys.argv[1]), lambda: False)
tokens = engine.tokenise("a text")
[vector] = engine.run([[tokens]], len(tokens))
print(len(vector))
"""

FAMILY = re.compile(r"\bAF_\w+")
CALLS = "connect,sendto,sendmsg,sendmmsg"


def test_what_would_tell_is_imported_in_one_place() -> None:
    """Also not by a benchmark, a test, or a program that one of them has as a text."""
    imports = re.compile(rf"^\s*(?:import|from) {LIBRARY}\b|import\w*\(\s*[\"']{LIBRARY}\b", re.MULTILINE)
    folders = ("persistence", "actors", "central_command", "bench", "tests")
    paths = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert {str(path.relative_to(REPOSITORY)) for path in paths if imports.search(path.read_text())} == IMPORTED_BY


def test_it_is_switched_off_before_it_is_loaded() -> None:
    """Its C library looks at the environment when it is loaded, so not a statement later."""
    [path] = IMPORTED_BY
    [before, *after] = re.split(rf"^from {LIBRARY} import .*$", (REPOSITORY / path).read_text(), flags=re.MULTILINE)
    assert f"import {LIBRARY}" not in before
    assert 'os.environ["ORT_DISABLE_TELEMETRY"] = "1"' in [
        ast.unparse(each).replace("'", '"') for each in ast.parse(before).body
    ]
    assert "disable_telemetry_events()" in "".join(after)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model's graph."""
    if installed_model() is None or any(find_spec(name) is None for name in (LIBRARY, "onnx", "tokenizers")):
        pytest.skip("the model is not installed")
    folder = tmp_path_factory.mktemp("graphs")
    load_engine(EmbeddingSettings(), folder, lambda: False)
    return folder


@pytest.mark.parametrize("asked", ["", "0"], ids=["not asked", "asked to tell"])
def test_a_process_that_embeds_leaves_nothing_at_home_and_speaks_with_nobody(
    graphs: Path, tmp_path: Path, asked: str
) -> None:
    """Whatever the environment says: no file below HOME, no datagram and no connection to an address."""
    home, calls = tmp_path / "home", tmp_path / "calls"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    environment |= {"HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    environment |= {"ORT_DISABLE_TELEMETRY": asked} if asked else {}
    strace = shutil.which("strace")
    traced = [] if strace is None else [strace, "-f", "-o", str(calls), "-e", f"trace={CALLS}"]
    done = subprocess.run(
        [*traced, sys.executable, "-c", EMBEDS, str(graphs)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1536\n"
    assert [*home.rglob("*")] == []
    if strace is None:
        pytest.skip("strace is not installed: whom the process spoke with was not looked at")
    assert set(FAMILY.findall(calls.read_text())) <= {"AF_UNIX"}, calls.read_text()
