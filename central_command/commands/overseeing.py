"""`status`: a running server on one screen."""

# ruff: noqa: PLC0415 (imports within functions: `--help` asks no server)

import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central_command.client.contract.server_options import server_options
from central_command.commands.endings import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    one_sentence_for_failures,
)
from central_command.commands.presented_token import TOKEN_VARIABLE, token_in, token_of_environment
from central_command.process.paths import PathTo

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from central_command.client.contract.connection import Trust
    from central_command.commands.printing.server_state import ServerState

TIMEOUT_S = 10.0
"""How long one answer is waited for."""

ANSWER_BYTES_MAX = 16_777_216
"""More than any answer has."""

NO_TOKEN = (
    f"Sessions, queues, lag and disk are told with a token of the scope read: --token-file FILE, or {TOKEN_VARIABLE} "
    "(`central-command token create --scope read` makes one)."
)


@click.command()
@server_options
@click.option(
    "--token-file",
    type=PathTo("file", must_exist=True),
    help=f"File with a token of the scope read.  [default: {TOKEN_VARIABLE}]",
)
@click.option("--watch", is_flag=True, help="Ask again and again, until Ctrl-C.")
@click.option(
    "--every", default=5.0, show_default=True, type=click.FloatRange(1, 3_600), help="Seconds between two times."
)
def status(*, url: str, trust: "Trust", token_file: Path | None, every: float, watch: bool) -> None:
    """Show how a running server is: ready, lag, sessions, disk, queues, and what is wrong, a sentence each.

    Without a token only what the open /readyz says is known, and the screen says what is missing.

    \b
    Example:
      central-command status
      central-command status --url https://central.example --token-file read.token --watch
      central-command status --url https://127.0.0.1:8443 --ca cert.pem

    Exit status: 0 nothing is wrong, 1 something is, or the server does not answer, 2 the URL or the token is none.
    """
    from central_command.commands.printing.server_state import screen

    token = token_of_environment() if token_file is None else token_in(token_file)
    with one_sentence_for_failures():
        if watch:
            _watch(url, trust, token, every)
            raise SystemExit(EXIT_INTERRUPTED)
        found = asked(url, trust, token)
    for line in screen(found):
        click.echo(line)
    if not found.is_ok:
        raise SystemExit(EXIT_FAILED)


def _watch(url: str, trust: "Trust", token: str | None, every_s: float) -> None:
    from rich.live import Live
    from rich.text import Text

    from central_command.commands.printing.server_state import screen
    from central_command.commands.printing.terminal import console

    def shown() -> Text:
        return Text("\n".join(screen(asked(url, trust, token))))

    with Live(shown(), console=console(), auto_refresh=False) as live:
        while True:
            time.sleep(every_s)
            live.update(shown(), refresh=True)


def asked(url: str, trust: "Trust", token: str | None, client: "httpx.Client | None" = None) -> "ServerState":
    """Ask a server how it is; what cannot be asked is said in the state."""
    import httpx
    import msgspec

    from central_command.client.contract.connection import new_blocking_client
    from central_command.commands.printing.server_state import ServerState, checks_of
    from central_command.reaching.unreachable import stranger, undelivered

    now = time.time()
    status, location = 0, None
    with client or new_blocking_client(url, trust, TIMEOUT_S) as asking:
        try:
            answer = asking.get(f"{url}/readyz?verbose")
            status, location = answer.status_code, answer.headers.get("Location")
            members = answer.json()
            checks = checks_of(members)
            ready, uptime_s = members["ready"] is True, float(members["uptime"])
            live = asking.get(f"{url}/livez").json()
            samples, missing = (None, NO_TOKEN) if token is None else _samples(asking, url, token)
        except httpx.RequestError as error:
            why = undelivered(error, httpx.URL(url))
            return ServerState(url=url, at=now, unreachable=f"The server does not answer: {why.reason}; {why.advice}.")
        except (ValueError, TypeError, KeyError, AttributeError, msgspec.ValidationError):
            why = stranger(status, location, httpx.URL(url))
            reason = f"{why.reason.removeprefix('what')}, or one of another version"
            return ServerState(url=url, at=now, unreachable=f"What{reason}; {why.advice}.")
    said = "" if live.get("live") is True else str(live.get("error", "The server says that it does not live."))
    return ServerState(
        url=url, at=now, ready=ready, live=said, uptime_s=uptime_s, checks=checks, samples=samples, no_samples=missing
    )


def _samples(asking: "httpx.Client", url: str, token: str) -> "tuple[Mapping[tuple[str, str], float] | None, str]":
    """The figures of `/metrics`, or why there are none."""
    from prometheus_client.parser import text_string_to_metric_families

    answer = asking.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code != 200:
        try:
            why = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            why = f"status {answer.status_code}"
        return None, f"The server does not tell its figures: {why}"
    prefix = "central_command_"
    found: defaultdict[tuple[str, str], float] = defaultdict(float)
    for family in text_string_to_metric_families(answer.text[:ANSWER_BYTES_MAX]):
        for sample in family.samples:
            if sample.name == f"{prefix}jobs":
                found["jobs", f"{sample.labels['queue']} {sample.labels['state']}"] += sample.value
            elif sample.name.startswith(prefix) and len(sample.labels) <= 1:
                found[sample.name.removeprefix(prefix), "".join(sample.labels.values())] += sample.value
    return found, ""
