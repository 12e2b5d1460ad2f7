"""What docs/operations.md says to type in and to copy works as it is written there."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path

import pytest

from central_command.http.requests.direct import body_too_large
from central_command.http.requests.replies import (
    BATCH_PATH,
    EMBEDDINGS_PATH,
    INGEST_PATH,
    MODELS_PATH,
    HttpProblem,
    problem,
)
from central_command.http.settings import HttpSettings
from tests.server_process import HANGS_AFTER_S

REPOSITORY = Path(__file__).parents[2]
DOCS = (REPOSITORY / "docs" / "operations.md").read_text()
COMMAND = Path(sys.executable).parent / "central-command"


def block(language: str, after: str) -> str:
    """The first block of code of a language behind a heading."""
    found = re.search(rf"```{language}\n(.*?)```", DOCS[DOCS.index(f"\n## {after}\n") :], re.DOTALL)
    assert found is not None
    return found[1]


class ScratchRoot:
    """A folder that stands for `/`: what the docs name lies in it, and what needs root does nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("opt", "etc", "var/lib"):
            (root / folder).mkdir(parents=True)
        (root / "opt/central-command").symlink_to(REPOSITORY)
        self.stubs = root / "stubs"
        self.stubs.mkdir()
        for name in ("useradd", "systemctl"):
            (self.stubs / name).write_text("#!/bin/sh\n")
            (self.stubs / name).chmod(0o755)

    def inside(self, text: str) -> str:
        """Text with its paths in the scratch root; the program is the one of this environment."""
        text = text.replace("/opt/central-command/.venv/bin/central-command", str(COMMAND))
        return re.sub(r"(?<![\w.])/(opt|etc|var/lib)/central-command", rf"{self.root}/\1/central-command", text)

    @property
    def environment(self) -> dict[str, str]:
        """Its commands come first; the port is any that is free."""
        return {
            "PATH": f"{self.stubs}:{os.environ['PATH']}",
            "GROOVE_CENTRAL_PORT": "0",
            "CENTRAL_COMMAND__HTTP__HOST": "127.0.0.1",
            "CENTRAL_COMMAND__EMBEDDING__ENABLED": "false",
        }

    def run(self, text: str) -> None:
        """Run lines of shell, each of which must succeed."""
        subprocess.run(["sh", "-eu", "-c", self.inside(text)], env=self.environment, check=True, capture_output=True)


def wait_for_line(path: Path, words: str) -> None:
    """Until a server has said so."""
    deadline = time.monotonic() + HANGS_AFTER_S
    while words not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.02)


@pytest.mark.skipif(not COMMAND.exists(), reason="central-command is not installed in this environment")
def test_the_unit_starts_reloads_and_stops(tmp_path: Path) -> None:
    """After the commands that the docs have for it, with the folder that systemd makes."""
    scratch = ScratchRoot(tmp_path)
    scratch.run(block("sh", "systemd"))
    unit = block("ini", "systemd")
    state = tmp_path / "var/lib/central-command"
    state.mkdir(mode=0o700)
    [start] = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    reloads = re.findall(r"^ExecReload=(.*)$", unit, re.MULTILINE)
    log = tmp_path / "stderr"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            scratch.inside(start).split(), env=scratch.environment, stderr=stderr, cwd="/", umask=0o077
        ) as server,
    ):
        try:
            wait_for_line(log, ": serving http://127.0.0.1:")
            for line in reloads:
                scratch.run(line.replace("$MAINPID", str(server.pid)))
            wait_for_line(log, "SIGHUP: the settings were read again; changed: nothing")
            server.send_signal(signal.SIGTERM)
            assert server.wait(HANGS_AFTER_S) == 0
        finally:
            server.kill()
    assert {path.name for path in state.iterdir()} >= {"envelopes", "keys", "sessions.db", "lock"}


def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    """As far as it is installed: a name that it does not know would protect nothing, silently."""
    path = tmp_path / "central-command.service"
    path.write_text(block("ini", "systemd"))
    try:
        done = subprocess.run(
            ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False, timeout=30
        )
    except FileNotFoundError:
        pytest.skip("systemd is not installed")
    complaints = [line for line in done.stderr.splitlines() if path.name in line]
    assert [line for line in complaints if "Unknown" in line or "Failed to parse" in line or "Invalid" in line] == []


def mapped(conf: str, variable: str, path: str) -> dict[str, object]:
    """What nginx makes of a path by a `map`: by a text, else the first pattern that fits, else the default."""
    [entries] = re.findall(rf"map \$uri \${variable} \{{(.*?)\n\}}", conf, re.DOTALL)
    values = dict(re.findall(r"^\s+(\S+)\s+'(.*)';$", entries, re.MULTILINE))
    patterns = [name for name in values if name.startswith("~") and re.search(name[1:], path)]
    found: dict[str, object] = json.loads(values[next(iter([path] if path in values else patterns), "default")])
    return found


@pytest.mark.parametrize(
    "path",
    [INGEST_PATH, BATCH_PATH, EMBEDDINGS_PATH, MODELS_PATH, f"{MODELS_PATH}/x", "/v1/embed", "/v1/sessions/open", "/"],
)
def test_what_nginx_refuses_by_itself_is_said_as_the_server_says_it(path: str) -> None:
    """In the form of each path, as JSON; and what is larger is refused by both."""
    conf = block("nginx", "Behind nginx")
    too_large = body_too_large(HttpSettings(), hard=True)
    assert mapped(conf, "too_large", path) == json.loads(problem(path, too_large).body)
    said = "The server cannot be reached; send this again later."
    unavailable = HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", said)
    assert mapped(conf, "unavailable", path) == json.loads(problem(path, unavailable).body)
    assert "client_max_body_size 32m;" in conf
    assert HttpSettings().body_bytes_hard_max == 32 * 1_024 * 1_024
