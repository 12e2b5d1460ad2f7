"""The options of every command that asks a server: where it is, and whom to trust there."""

# ruff: noqa: PLC0415 (imports within functions: `--help` asks no server)

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from central_command.client.contract.endpoints import DEFAULT_URL
from central_command.process.paths import PathTo
from central_command.reaching.addresses import URL_VARIABLES

if TYPE_CHECKING:
    from central_command.client.contract.connection import Trust

Command = Callable[..., None]


def server_options(command: Command) -> Command:
    """Add the options of a command that asks a server: `url` and `trust`."""
    url = click.option(
        "--url",
        default=DEFAULT_URL,
        show_default=True,
        envvar=list(URL_VARIABLES),
        show_envvar=True,
        callback=_check_url,
        help="Where the Central Command server is.",
    )
    return url(_trust_options(command))


def may_ask_options(instead: str) -> Callable[[Command], Command]:
    """The same for a command that asks a server only where `url` is given, which is None by default.

    `instead` is what it does without.
    """
    url = click.option(
        "--url", metavar="URL", callback=_check_url, help=f"Ask the server that runs there instead of {instead}."
    )

    def add(command: Command) -> Command:
        @wraps(command)
        def packed(*, url: str | None, trust: "Trust", **others: Any) -> None:
            if url is None and (trust.ca is not None or trust.insecure):
                raise click.UsageError("--ca and --insecure go with --url.")
            command(url=url, trust=trust, **others)

        return url(_trust_options(packed))

    return add


def _trust_options(command: Command) -> Command:
    @wraps(command)
    def packed(*, ca: Path | None, insecure: bool, **others: Any) -> None:
        command(trust=_trust_of(ca, insecure=insecure), **others)

    ca_option = click.option(
        "--ca",
        metavar="FILE",
        type=PathTo("file", must_exist=True),
        help="PEM file with the certificates to trust: of your own authority, or the server's own self-signed one.",
    )
    insecure_option = click.option(
        "--insecure", is_flag=True, help="Do not verify the server's TLS certificate: anybody in between can read."
    )
    return ca_option(insecure_option(packed))


def _check_url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    from central_command.client.contract.connection import server_url

    try:
        return value if value is None else server_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _trust_of(ca: Path | None, *, insecure: bool) -> "Trust":
    """Whom --ca and --insecure say to trust; ends the command with a sentence when they contradict, or FILE is none."""
    from central_command.client.contract.connection import Trust

    if ca is not None and insecure:
        raise click.UsageError("--ca FILE says whom to trust, --insecure that anybody is: use one of them.")
    trust = Trust(ca=ca, insecure=insecure)
    try:
        trust.verification()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--ca") from error
    return trust
