"""What a plain installation has: the client and the commands, with nothing of a server or a model behind them."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from central_command.commands.endings import EXTRAS

REPOSITORY = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
MODULES = {"markdown_it_py": "markdown_it"}
"""What a package is imported as, where its name says otherwise."""
WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from central_command.commands.cli import main
main({arguments!r})
"""


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """`central-command` in a process of its own, in which no module of an extra can be imported."""
    code = WITHOUT_EXTRAS.format(missing=set(EXTRAS), arguments=list(arguments))
    environment = {"HOME": str(cwd), "PATH": "", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_every_module_of_an_extra_is_in_the_table_that_names_extras() -> None:
    """So that a command can say which extra is missing; and none of them is asked for by a plain installation."""
    extras = PROJECT["optional-dependencies"]
    packages = {
        (requirement.partition(">")[0].partition("[")[0].replace("-", "_"), extra)
        for extra in ("server", "embed", "export")
        for requirement in extras[extra]
    }
    names = {(MODULES.get(package, package), extra) for package, extra in packages}
    assert names == set(EXTRAS.items())
    assert not [each for each in PROJECT["dependencies"] if each.partition(">")[0].partition("[")[0] in EXTRAS]
    assert extras["all"] == ["central-command[embed,export,server]"]


def test_make_installs_what_the_extra_for_exports_names() -> None:
    """From a lock of its own, which has all of it."""
    lines = (REPOSITORY / "requirements-export.lock").read_text().splitlines()
    locked = {line.partition("==")[0] for line in lines if "==" in line}
    wanted = {each.partition(">")[0] for each in PROJECT["optional-dependencies"]["export"]}
    assert locked == wanted
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "\nexport-tools: $(VENV)/.export" in makefile
    assert "\t$(PIP) -r requirements-export.lock\n" in makefile


@pytest.mark.parametrize(
    "command", ["upload", "watch", "mine", "sessions", "show", "stats", "verify", "backup", "restore"]
)
def test_client_and_commands_need_no_extra(tmp_path: Path, command: str) -> None:
    """Each runs to the point where it finds that nothing is there."""
    (tmp_path / "data").mkdir()
    (tmp_path / "session.jsonl").write_text("{}\n")
    operands = {"upload": ["session.jsonl"], "watch": ["nowhere"], "show": ["x"], "restore": ["data"]}
    operands |= {"backup": ["copy"], "mine": ["--url", "http://127.0.0.1:1"]}
    done = run(command, *operands.get(command, []), cwd=tmp_path)
    assert done.returncode in ({0} if command == "mine" else {1, 2, 3}), done.stderr
    assert "Traceback" not in done.stderr
    assert "extra" not in done.stderr


def test_consent_and_local_data_need_no_extra(tmp_path: Path) -> None:
    """Nor does anything that they lead to."""
    for arguments in (
        ["consent", "give", "--yes"],
        ["consent", "receipt"],
        ["data", "--stats"],
        ["data", "--delete", "--yes"],
    ):
        done = run(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), arguments


def test_settings_are_checked_without_an_extra(tmp_path: Path) -> None:
    """All but the files for TLS, which only a server reads: that one sentence says, after what else is wrong."""
    (tmp_path / "config.toml").write_text('[http]\ntrusted_proxies = ["10.0.0.0/8"]\n')
    done = run("config", "check", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
    (tmp_path / "config.toml").write_text('[http]\nport = 0.5\ntrusted_proxies = ["nowhere"]\n')
    done = run("config", "check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "port" in done.stdout
    (tmp_path / "config.toml").write_text(
        '[http]\ntls_key = "k.pem"\ntls_certificate = "c.pem"\ntrusted_proxies = ["1.2.3.4/99"]\n'
    )
    done = run("config", "check", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        2,
        "http.trusted_proxies holds '1.2.3.4/99', which is no network (CIDR).\n",
    )
    assert done.stderr == (
        "central-command: this needs hypercorn, which comes with the extra 'server': "
        "pip install 'central-command[server]'.\n"
    )


@pytest.mark.parametrize("command", [["refused", "list"], ["refused", "show", "x"], ["erase", "--pending"], ["expire"]])
def test_what_does_a_stopped_servers_work_needs_its_extra_and_says_so(tmp_path: Path, command: list[str]) -> None:
    """In one sentence, wherever the first module of it is missed."""
    (tmp_path / "data").mkdir()
    done = run(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "central-command: this needs quart, which comes with the extra 'server': "
        "pip install 'central-command[server]'.\n"
    )


def test_a_server_without_its_extra_says_which(tmp_path: Path) -> None:
    """In one sentence, with what to type; nothing is created."""
    done = run("serve", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "central-command: this needs quart, which comes with the extra 'server': "
        "pip install 'central-command[server]'.\n"
    )
    assert not any(tmp_path.iterdir())
