"""What commands share: the options of every command that touches stored data, and the settings that these lead to."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no settings)

import os
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from central_command.commands.endings import EXIT_REFUSED, leave
from central_command.process.paths import PathTo

if TYPE_CHECKING:
    from central_command.settings.configuration import Settings

DEFAULT_CONFIG = Path("config.toml")

_NO_DATA_DIRECTORY = "Name it with --data-dir; what you delivered to a server elsewhere: central-command mine."

F = TypeVar("F", bound=Callable[..., Any])

wide_option = click.option("--wide", is_flag=True, help="Print every column and whole ids, also on a terminal.")


def data_options(*, must_exist: bool) -> Callable[[F], F]:
    """Add --config and --data-dir, which every command that touches stored data has."""
    config = click.option(
        "--config",
        type=PathTo("file", must_exist=False),
        help="File with the settings.  [default: config.toml if it exists, else built-in defaults]",
    )
    data_dir = click.option(
        "--data-dir",
        type=PathTo("folder", must_exist=must_exist, advice=_NO_DATA_DIRECTORY),
        default=Path("data"),
        show_default=True,
        help="Folder with everything that the server keeps.",
    )
    return lambda command: config(data_dir(command))


def group_options(group: Callable[..., None]) -> Callable[..., None]:
    """Add `data_options` to a group that does something by itself; without a sub-command alone, they are checked.

    With one, what was given to the group is the sub-command's default, so that an option counts wherever it stands;
    one that the sub-command has not is refused.
    """

    @wraps(group)
    def packed(*, data_dir: Path, **others: Any) -> None:
        context = click.get_current_context()
        if context.invoked_subcommand is not None:
            _hand_down(context, context.invoked_subcommand)
            return
        PathTo("folder", must_exist=True, advice=_NO_DATA_DIRECTORY).convert(data_dir, _option("data_dir"), context)
        group(data_dir=data_dir, **others)

    return data_options(must_exist=False)(packed)


def _hand_down(context: click.Context, name: str) -> None:
    """Make what was given to a group the defaults of its sub-command."""
    assert isinstance(context.command, click.Group)
    command = context.command.get_command(context, name)
    known = {each.name for each in command.params} if command else set()
    given = {
        each: value
        for each, value in context.params.items()
        if context.get_parameter_source(each) is ParameterSource.COMMANDLINE
    }
    for each in given.keys() - known:
        option = _option(each).opts[0]
        raise click.UsageError(f"{option} goes with `{context.command_path}` alone, not with its {name}.", context)
    context.default_map = {name: given}


def _option(name: str) -> click.Parameter:
    """The option of the command that runs which has this name."""
    return next(each for each in click.get_current_context().command.params if each.name == name)


def step_options(command: F) -> F:
    """Add --steps, --lines and --full, which every command that prints steps has."""
    steps = click.option("--steps", "chosen", metavar="RANGE", help="Only these steps: 10-20, 10-, -20 or 10.")
    lines_of_each = click.IntRange(1, 10_000)
    lines = click.option("--lines", default=6, show_default=True, type=lines_of_each, help="Lines shown of each step.")
    full = click.option("--full", is_flag=True, help="Show each step's content as a whole.")
    return steps(lines(full(command)))


def settings_reader(config: Path | None, overrides: dict[str, object]) -> "Callable[[], Settings]":
    """What reads the settings, from the same sources whenever it is called; it raises SettingsError."""
    from central_command.settings.configuration import load_settings

    path = config if config is not None else DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None
    return partial(load_settings, path, os.environ, overrides)


def settings_from(config: Path | None, overrides: dict[str, object]) -> "Settings":
    """The settings, or one sentence and exit status 2."""
    from central_command.settings.configuration import SettingsError

    try:
        return settings_reader(config, overrides)()
    except SettingsError as error:
        leave(str(error), EXIT_REFUSED)
