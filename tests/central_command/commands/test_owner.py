"""Commands leave another user's data directory alone: what they made there, that user's server could not open."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import trio
from click.testing import CliRunner, Result

from central_command.commands import cli, options
from tests.running_service import running

NOBODY = 65_534
UNNAMED = 123_457
ARGUMENTS = ("x", "y")


def with_data(group: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """Every command that has a data directory."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from with_data(command, *path, name)
    if any(parameter.name == "data_dir" for parameter in group.params):
        yield path


COMMANDS = sorted({path for path in with_data(cli.main) if path != ("serve",)})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that a server of this user has used."""

    async def use(root: Path) -> None:
        async with running(root):
            pass

    root = tmp_path_factory.mktemp("owned") / "data"
    trio.run(use, root)
    return root


def listed(root: Path) -> dict[str, tuple[int, float]]:
    return {str(path): ((status := path.lstat()).st_uid, status.st_mtime) for path in (root, *root.rglob("*"))}


def run_as(monkeypatch: pytest.MonkeyPatch, user: int, *arguments: str) -> Result:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    return CliRunner().invoke(cli.main, arguments)


def test_there_are_commands_with_a_data_directory() -> None:
    assert len(COMMANDS) >= 30


@pytest.mark.parametrize("command", [*COMMANDS, ("serve",)], ids=" ".join)
def test_no_command_touches_another_user_s_data_directory(
    command: tuple[str, ...], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listed(data)
    refused = run_as(monkeypatch, UNNAMED, *command, "--data-dir", str(data), *ARGUMENTS)
    assert refused.exit_code == 2
    user = pwd.getpwuid(os.getuid()).pw_name
    assert refused.output == (
        f"central-command: the data directory {data} belongs to the user {user}, and a server of theirs could not open "
        f"what you, as {UNNAMED}, leave in it: run this as that user, `sudo -u {user} central-command …`.\n"
    )
    assert listed(data) == before


@pytest.mark.parametrize("command", ["jobs", "sign-in", "stats"])
def test_the_default_folder_is_looked_at_as_any(command: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    before = listed(data)
    assert "the data directory data belongs to the user" in run_as(monkeypatch, UNNAMED, command).output
    assert listed(data) == before


@pytest.mark.parametrize("command", ["pause", "resume", "retry"])
def test_a_default_that_nobody_asks_for_is_not_looked_at(
    command: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group has a data directory of its own, which is another user's here, and the command one that is named."""
    monkeypatch.chdir(data.parent)
    monkeypatch.setattr(os, "geteuid", lambda: UNNAMED)
    named = tmp_path / "named"
    named.mkdir()
    monkeypatch.setattr(options, "_owner", lambda path: UNNAMED if path == named else os.getuid())
    assert "has no jobs" in CliRunner().invoke(cli.main, ["jobs", command, "x", "--data-dir", str(named)]).output


@pytest.mark.parametrize("command", [("jobs", "pause", "x"), ("sign-in", "list")], ids=" ".join)
def test_a_command_of_a_group_needs_no_default_folder(
    command: tuple[str, ...], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'data' does not exist" not in CliRunner().invoke(cli.main, [*command, "--data-dir", str(data)]).output
    assert "The folder 'data' does not exist. Name it" in CliRunner().invoke(cli.main, command[:1]).output


def test_who_asks_a_server_has_no_data_directory(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(data.parent)
    token = tmp_path / "token"
    token.write_text("cc_" + "a" * 43)
    asked = ["refused", "list", "--url", "http://127.0.0.1:9", "--token-file", str(token)]
    assert "belongs to the user" not in run_as(monkeypatch, UNNAMED, *asked).output


def test_a_server_begins_in_a_folder_that_it_was_given_and_is_then_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, whose root is given somebody's folder: its commands are run by root there."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files to others")
    os.chown(tmp_path, NOBODY, NOBODY)
    assert (
        "sudo -u nobody" in run_as(monkeypatch, 0, "ban", "--address", "192.0.2.1", "--data-dir", str(tmp_path)).output
    )
    assert [*tmp_path.iterdir()] == []
    monkeypatch.setattr("central_command.running.run_service", None)  # by then it is past that
    served = run_as(monkeypatch, 0, "serve", "--data-dir", str(tmp_path))
    assert isinstance(served.exception, TypeError)
    (tmp_path / "lock").touch()
    assert run_as(monkeypatch, 0, "ban", "--address", "192.0.2.1", "--data-dir", str(tmp_path)).exit_code == 0
    os.chown(tmp_path / "lock", NOBODY, NOBODY)
    assert run_as(monkeypatch, 0, "bans", "--data-dir", str(tmp_path)).exit_code == 2
    assert run_as(monkeypatch, 0, "serve", "--data-dir", str(tmp_path)).exit_code == 2


def test_a_user_without_a_name_is_named_as_sudo_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    refused = run_as(monkeypatch, UNNAMED, "bans", "--data-dir", str(tmp_path))
    assert f"sudo -u '#{os.getuid()}' central-command" in refused.output
