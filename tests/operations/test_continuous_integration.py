"""`.ci/run`: a browser is installed where that can be done, and whatever comes of it, `make test` runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.server_process import REPOSITORY

TOOLS = ("bash", "sh", "dirname", "mktemp", "timeout", "tail", "rm", "sleep")


def run(folder: Path, *, user: int, apt_get: str | None, browser: bool = False) -> tuple[int, list[str], str]:
    """Exit status, what `apt-get` and `make` were called with, and stderr; `apt_get` is what it does, None for none."""
    tools = folder / "bin"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name) or name)
    programs = {"make": "", "id": f"echo {user}"}
    programs |= {} if apt_get is None else {"apt-get": apt_get}
    programs |= {"chromium": "", "chromedriver": ""} if browser else {}
    for name, action in programs.items():
        said = "" if name == "id" else f'echo {name} "$@" >>"$SAID"\n'
        (tools / name).write_text(f"#!/bin/sh\n{said}{action}\n")
        (tools / name).chmod(0o755)
    (folder / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", folder / ".ci")
    environment = {"PATH": str(tools), "SAID": str(folder / "said"), "BROWSER_TIMEOUT_S": "1", "TMPDIR": str(folder)}
    done = subprocess.run(
        [str(tools / "bash"), str(folder / ".ci" / "run")], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, (folder / "said").read_text().splitlines(), done.stderr


def test_chromium_is_installed_where_that_can_be_done(tmp_path: Path) -> None:
    status, called, stderr = run(tmp_path, user=0, apt_get="exit 0")
    assert (status, stderr) == (0, "")
    assert [line.split()[:2] for line in called] == [["apt-get", "update"], ["apt-get", "install"], ["make", "test"]]
    assert called[1].endswith("chromium chromium-driver")


@pytest.mark.parametrize("apt_get", ["echo no network >&2; exit 100", "exec sleep 60"])
def test_what_cannot_be_installed_in_time_is_said_and_fails_nothing(tmp_path: Path, apt_get: str) -> None:
    status, called, stderr = run(tmp_path, user=0, apt_get=apt_get)
    assert status == 0
    assert called[-1] == "make test"
    assert stderr.startswith("no browser: apt-get did not install chromium within 1 s: its tests skip\n")
    assert ("no network" in stderr) == ("network" in apt_get)


@pytest.mark.parametrize(("user", "apt_get"), [(1000, "exit 0"), (0, None)])
def test_nothing_is_tried_where_it_cannot_be(tmp_path: Path, user: int, apt_get: str | None) -> None:
    status, called, stderr = run(tmp_path, user=user, apt_get=apt_get)
    assert (status, called) == (0, ["make test"])
    assert "none can be installed here" in stderr


def test_a_browser_that_is_there_is_used(tmp_path: Path) -> None:
    assert run(tmp_path, user=0, apt_get="exit 0", browser=True) == (0, ["make test"], "")
