"""What commands share: the options of every command that touches stored data, and the settings that these lead to."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no settings)

import os
import pwd
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from central_command.commands.endings import EXIT_REFUSED, leave
from central_command.process.paths import PathTo
from persistence.files.lock import LOCK

if TYPE_CHECKING:
    from central_command.settings.configuration import Settings

DEFAULT_CONFIG = Path("config.toml")

_NO_DATA_DIRECTORY = "Name it with --data-dir; what you delivered to a server elsewhere: central-command mine."

F = TypeVar("F", bound=Callable[..., Any])

wide_option = click.option("--wide", is_flag=True, help="Print every column and whole ids, also on a terminal.")


def _is_group_s_default(context: click.Context, option: click.Parameter) -> bool:
    source = context.get_parameter_source(option.name or "")
    return isinstance(context.command, click.Group) and source is ParameterSource.DEFAULT


def data_options(*, must_exist: bool, begins: bool = False) -> Callable[[F], F]:
    """Add --config and --data-dir, which every command that touches stored data has.

    A data directory of another user is refused, before anything in it is touched: also what only reads leaves files
    there (SQLite's), and those of root its server cannot open. With `begins` only where that user has begun with it.
    """
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
        callback=partial(_checked, begins=begins),
        help="Folder with everything that the server keeps.",
    )
    return lambda command: config(data_dir(command))


def _checked(context: click.Context, option: click.Parameter, folder: Path, *, begins: bool) -> Path:
    """The data directory, unless it is another user's; where a server is asked (`--token-file`), none is."""
    is_default = context.get_parameter_source(option.name or "") is ParameterSource.DEFAULT
    if not _is_group_s_default(context, option) and not (is_default and context.params.get("token_file") is not None):
        _check_owner(folder, begins=begins)
    return folder


def _check_owner(folder: Path, *, begins: bool) -> None:
    """Leave where a data directory is another user's.

    It is that of whoever owns it, or its lock, which the first server makes: a server of root's, as in a container, may
    have been given a folder of somebody else's.
    """
    owners = [owner for path in (folder, folder / LOCK) if (owner := _owner(path)) is not None]
    user = os.geteuid()
    if owners and user not in owners and not (begins and len(owners) == 1):
        _leave_to(owners[0], user, folder)


def _leave_to(owner: int, user: int, folder: Path) -> NoReturn:
    name = _name(owner)
    whose, user_option = (owner, f"'#{owner}'") if name is None else (name, name)
    leave(
        f"the data directory {folder} belongs to the user {whose}, and a server of theirs could not open what you, as "
        f"{_name(user) or user}, leave in it: run this as that user, `sudo -u {user_option} central-command …`.",
        EXIT_REFUSED,
    )


def _owner(path: Path) -> int | None:
    """The user whom a file or a folder belongs to; None where it cannot be seen."""
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _name(user: int) -> str | None:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return None


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
        _check_owner(data_dir, begins=False)
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
