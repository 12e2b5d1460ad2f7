"""`config`: whether the settings are right, before a server meets them."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no server)

import os
from pathlib import Path

import click

from central_command.commands.endings import EXIT_FAILED
from central_command.process.paths import PathTo
from central_command.process.steering import escaped


@click.group()
def config() -> None:
    """Check the settings, before a server meets them.

    \b
    Example:
      central-command config check /etc/central-command/config.toml
    """


@config.command()
@click.argument("file", type=PathTo("file", must_exist=True), default=Path("config.toml"))
def check(file: Path) -> None:
    """Say what is wrong with a file of settings, a sentence each, or "ok".

    Settings of the environment (CENTRAL_COMMAND__SECTION__KEY) are checked with it, as `serve` would read them, and so
    is whether the files for TLS work. Nothing is started or changed.

    \b
    Example:
      central-command config check /etc/central-command/config.toml && systemctl reload central-command

    Exit status: 0 nothing is wrong, 1 something is, 2 there is no such file.
    """
    from central_command.http.connections.server_config import hypercorn_config
    from central_command.http.requests.addresses import parse_networks
    from central_command.http.settings import HttpSettingsError
    from central_command.settings.configuration import check_settings

    settings, wrong = check_settings(file, os.environ)
    if settings is not None:
        for look in (lambda: hypercorn_config(settings.http), lambda: parse_networks(settings.http.trusted_proxies)):
            try:
                look()
            except HttpSettingsError as error:
                wrong.append(str(error))
    for sentence in wrong:
        click.echo(escaped(sentence))
    if wrong:
        raise SystemExit(EXIT_FAILED)
    click.echo("ok")
