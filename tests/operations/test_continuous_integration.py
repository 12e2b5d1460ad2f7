"""`.ci/run`: what some tests drive is fetched where that can be done; whatever comes of it, `make test` runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.server_process import REPOSITORY

TOOLS = ("bash", "sh", "dirname", "mktemp", "timeout", "tail", "rm", "sleep", "mkdir")
THERE = ("chromium", "chromedriver", "prometheus", "promtool")


def run(folder: Path, *, user: int, apt_get: str | None, there: tuple[str, ...] = ()) -> tuple[int, list[str], str]:
    """Exit status, what was called with what, and stderr; `apt_get` is what it does, None for none."""
    tools = folder / "bin"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name) or name)
    programs = {"make": "", "dpkg": "", "id": f"echo {user}"}
    programs |= {} if apt_get is None else {"apt-get": apt_get}
    programs |= dict.fromkeys(there, "")
    for name, action in programs.items():
        said = "" if name == "id" else f'echo {name} "$@" >>"$SAID"\n'
        (tools / name).write_text(f"#!/bin/sh\n{said}{action}\n")
        (tools / name).chmod(0o755)
    (folder / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", folder / ".ci")
    environment = {"PATH": str(tools), "SAID": str(folder / "said"), "FETCH_TIMEOUT_S": "1", "TMPDIR": str(folder)}
    done = subprocess.run(
        [str(tools / "bash"), str(folder / ".ci" / "run")], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, (folder / "said").read_text().splitlines(), done.stderr


def test_what_is_not_there_is_fetched_where_that_can_be_done(tmp_path: Path) -> None:
    status, called, stderr = run(tmp_path, user=0, apt_get="exit 0")
    assert (status, stderr) == (0, "")
    assert [line.split()[:2] for line in called] == [
        ["apt-get", "update"],
        ["apt-get", "install"],
        ["apt-get", "update"],
        ["apt-get", "download"],
        ["dpkg", "-x"],
        ["make", "test"],
    ]
    assert called[1].endswith("chromium chromium-driver")


@pytest.mark.parametrize("apt_get", ["echo no network >&2; exit 100", "exec sleep 60"])
def test_what_cannot_be_fetched_in_time_is_said_and_fails_nothing(tmp_path: Path, apt_get: str) -> None:
    status, called, stderr = run(tmp_path, user=0, apt_get=apt_get)
    assert status == 0
    assert called[-1] == "make test"
    for what in ("browser", "Prometheus"):
        assert f"no {what}: apt-get did not fetch it within 1 s: its tests skip\n" in stderr
    assert stderr.count("no network") == 2 * ("network" in apt_get)


@pytest.mark.parametrize(("user", "apt_get"), [(1000, "exit 0"), (0, None)])
def test_nothing_is_tried_where_it_cannot_be(tmp_path: Path, user: int, apt_get: str | None) -> None:
    status, called, stderr = run(tmp_path, user=user, apt_get=apt_get)
    assert (status, called) == (0, ["make test"])
    assert stderr.count("none can be fetched here") == 2


@pytest.mark.parametrize("there", [THERE[:2], THERE[2:], THERE])
def test_what_is_there_is_used(tmp_path: Path, there: tuple[str, ...]) -> None:
    status, called, stderr = run(tmp_path, user=0, apt_get="exit 0", there=there)
    assert (status, stderr) == (0, "")
    assert any("chromium" in line for line in called) == ("chromium" not in there)
    assert any("prometheus" in line for line in called) == ("prometheus" not in there)
    assert called[-1] == "make test"
