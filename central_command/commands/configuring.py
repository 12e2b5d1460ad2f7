"""`config`: whether the settings are right, before a server meets them."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no server)

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central_command.commands.endings import EXIT_FAILED, one_sentence_for_failures
from central_command.commands.options import DEFAULT_CONFIG
from central_command.process.paths import PathTo
from central_command.process.steering import escaped

if TYPE_CHECKING:
    from central_command.http.settings import HttpSettings
    from central_command.settings.configuration import Settings


@click.group()
def config() -> None:
    """Check the settings, before a server meets them.

    \b
    Example:
      central-command config check /etc/central-command/config.toml
    """


@config.command()
@click.argument("file", type=PathTo("file", must_exist=True), required=False)
@click.option("--config", "named", type=PathTo("file", must_exist=True), help="The file, as other commands name it.")
@click.pass_context
def check(ctx: click.Context, file: Path | None, named: Path | None) -> None:
    """Say what is wrong with a file of settings, a sentence each, or "ok".

    Settings of the environment (CENTRAL_COMMAND__SECTION__KEY) are checked with it, as `serve` would read them, and so
    is whether the files for TLS work, and whether the folders that are named for backups, archived days and exports are
    there and can be written by whoever runs this. Nothing is started or changed.

    \b
    Example:
      central-command config check /etc/central-command/config.toml && systemctl reload central-command

    Exit status: 0 nothing is wrong, 1 something is, 2 there is no such file, or it names files for TLS, which only an
    installation with the extra 'server' can check.
    """
    from central_command.http.requests.networks import parse_networks
    from central_command.settings.configuration import check_settings

    if file is not None and named is not None:
        raise click.UsageError("The file is named twice: as FILE and with --config.")
    path = file or named or PathTo("file", must_exist=True).convert(DEFAULT_CONFIG, None, ctx)
    settings, wrong = check_settings(path, os.environ)
    without_extra: ModuleNotFoundError | None = None
    if settings is not None:
        http = settings.http
        try:
            wrong += _tls_objections(http)
        except ModuleNotFoundError as error:
            without_extra = error
        wrong += _objections(lambda: parse_networks(http.trusted_proxies))
        wrong += _folder_objections(settings)
    for sentence in wrong:
        click.echo(escaped(sentence))
    if without_extra is not None:
        with one_sentence_for_failures():
            raise without_extra
    if wrong:
        raise SystemExit(EXIT_FAILED)
    click.echo("ok")


def _folder_objections(settings: "Settings") -> list[str]:
    """What is wrong with the folders that the server's jobs write to."""
    folders = [("jobs.backup_dir", settings.jobs.backup_dir), ("export.directory", settings.export.directory)]
    if settings.tiers.compress_after_days:
        folders.append(("tiers.archive_dir", settings.tiers.archive_dir))
    return [
        f"{name}: the folder {folder} {why}."
        for name, folder in folders
        if folder is not None and (why := _why_not_written(Path(folder)))
    ]


def _why_not_written(folder: Path) -> str:
    if not folder.is_dir():
        return "does not exist: mount its disk, or make it"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "cannot be written by this user"


def _tls_objections(http: "HttpSettings") -> list[str]:
    """What is wrong with the files for TLS, if there are any; raises ModuleNotFoundError without the extra for it."""
    if http.tls_certificate is None and http.tls_key is None:
        return []
    from central_command.http.connections.server_config import hypercorn_config

    return _objections(lambda: hypercorn_config(http))


def _objections(look: Callable[[], object]) -> list[str]:
    """Return the sentence that `look` refuses a setting with, if it does."""
    from central_command.http.settings import HttpSettingsError

    try:
        look()
    except HttpSettingsError as error:
        return [str(error)]
    return []
