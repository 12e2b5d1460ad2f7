"""What holds of every command's options.

Groups that do something by themselves: their options and those of their sub-commands do not stand in each other's
way; whoever asks a server can trust it.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from central_command.commands.cli import COMMANDS, Elsewhere, main


def below(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all of its sub-commands, with the words that call them."""
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from below((*path, name), each)


EVERY = {
    path: command
    for name, found in COMMANDS.items()
    for path, command in below((name,), found.command() if isinstance(found, Elsewhere) else found)
}
"""All commands, by the words that call them."""


def names(command: click.Command) -> set[str]:
    """What its options are called."""
    return {option for each in command.params if isinstance(each, click.Option) for option in each.opts}


BESIDE_THEIR_GROUPS = [
    path for path, each in EVERY.items() if path[1:] and "--data-dir" in names(each) & names(EVERY[path[:-1]])
]
"""The sub-commands that have the option of their group."""
NAMED = " ".join
"""What a command is called."""


def some(command: click.Command) -> list[str]:
    """Something for each of its arguments: a file or a folder that is there, which may also be a name."""
    arguments = (each.type for each in command.params if isinstance(each, click.Argument))
    return ["." if isinstance(each, click.Path) and not each.file_okay else __file__ for each in arguments]


def run(*arguments: str) -> Result:
    """Run `central-command` with these arguments."""
    return CliRunner().invoke(main, arguments, prog_name="central-command")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_there_are_such_commands() -> None:
    assert len(BESIDE_THEIR_GROUPS) >= 6


@pytest.mark.parametrize("path", BESIDE_THEIR_GROUPS, ids=NAMED)
def test_the_folder_that_is_named_is_the_one_that_is_looked_for(path: tuple[str, ...]) -> None:
    """Wherever the option stands: the folder `data`, which its default is, is not there, and needs not be."""
    *group, name = path
    arguments = some(EVERY[path])
    for given in (
        [*path, *arguments, "--data-dir", "named"],
        [*group, "--data-dir", "named", name, *arguments],
    ):
        result = run(*given)
        assert result.exit_code == 2
        assert "The folder 'named' does not exist." in result.stderr, given


@pytest.mark.parametrize("group", ["jobs", "sign-in"])
def test_a_group_by_itself_says_which_folder_is_missing(group: str) -> None:
    assert "Invalid value for '--data-dir': The folder 'data' does not exist." in run(group).stderr


def test_what_a_sub_command_cannot_heed_is_refused() -> None:
    result = run("jobs", "--status", "failed", "retry", "verify__1")
    assert result.exit_code == 2
    assert "--status goes with `central-command jobs` alone, not with its retry." in result.stderr.replace(
        "main", "central-command"
    )


ASKING = [path for path, each in EVERY.items() if "--url" in names(each) and path != ("sign-in",)]
"""The commands that ask a server: `sign-in` only says where browsers find it."""


@pytest.mark.parametrize("path", ASKING, ids=NAMED)
def test_whoever_asks_a_server_can_be_told_whom_to_trust(path: tuple[str, ...]) -> None:
    """Each of them recommends these options where a certificate is not trusted."""
    command = EVERY[path]
    assert {"--ca", "--insecure"} <= names(command)
    url = ["--url", "https://127.0.0.1:1"]
    both = run(*path, *some(command), *url, "--ca", __file__, "--insecure")
    assert (both.exit_code, "use one of them" in both.stderr) == (2, True)
    none = run(*path, *some(command), *url, "--ca", __file__)
    assert (none.exit_code, "holds no certificates" in none.stderr) == (2, True)


def test_trust_without_a_server_is_refused(tmp_path: Path) -> None:
    result = run("refused", "list", "--insecure", "--data-dir", str(tmp_path))
    assert (result.exit_code, "--ca and --insecure go with --url" in result.stderr) == (2, True)
