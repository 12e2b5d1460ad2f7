"""`sign-in`: links that a browser signs in with, and the browser sessions that there are."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

import os
import time
from pathlib import Path

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, one_sentence_for_failures
from central_command.commands.granting import SCOPES, HeldStates, print_held
from central_command.commands.noting import noted
from central_command.commands.options import data_options, group_options, settings_from, wide_option
from central_command.reaching.addresses import URL_VARIABLES


@click.group("sign-in", invoke_without_command=True)
@group_options
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What the browser may do; repeatable.  [default: all]",
)
@click.option(
    "--url",
    envvar=list(URL_VARIABLES),
    help="Where browsers reach the server.  "
    f"[default: {URL_VARIABLES[0]}, else the server that runs, else made of http.host and http.port]",
)
def sign_in(config: Path | None, data_dir: Path, scopes: tuple[str, ...], url: str | None) -> None:
    """Make a link that signs one browser in, once and within access.link_s; also while the server runs.

    Whoever opens it within that time is in: pass it on by no way that others read. `list` and `revoke` are about the
    browser sessions that there are.

    \b
    Example:
      central-command sign-in --scope read
      central-command sign-in list

    Exit status: 0 made, 2 refused (as many links as access.links_max allows).
    """
    from central_command.access.making import Maker
    from central_command.access.tokens import Scope
    from central_command.http.settings import link_url
    from persistence.databases.browser_sessions import TooManyLinks
    from persistence.files.lock import noted_address
    from persistence.format.layout import DataLayout

    settings = settings_from(config, {})
    with one_sentence_for_failures():
        path = DataLayout(data_dir).access_database
        maker = Maker(path, settings.access, clock=time.time, random_bytes=os.urandom)
        made = maker.link([Scope(each) for each in scopes or SCOPES])
    if isinstance(made, TooManyLinks):
        leave("there are as many links as access.links_max allows: use one, or wait", EXIT_REFUSED)
    noted(data_dir, "link_made", made.stored.link_id)
    click.echo(link_url(url or noted_address(data_dir) or settings.http.browsers_url, made.code))
    click.echo(f"{made.stored.link_id}: works once, within {settings.access.link_s / 60:g} minutes", err=True)


@sign_in.command("list")
@data_options(must_exist=True)
@wide_option
def list_sessions(config: Path | None, data_dir: Path, *, wide: bool) -> None:
    """List the browser sessions: what each was opened with, until when it lasts, when it was used last.

    \b
    Example:
      central-command sign-in list
    """
    from persistence.databases.browser_sessions import BrowserSessionFile
    from persistence.format.layout import DataLayout

    settings_from(config, {})
    with one_sentence_for_failures():
        sessions = BrowserSessionFile(DataLayout(data_dir).access_database, time.time).all()
    if not sessions:
        click.echo("No browser is signed in: `central-command sign-in` makes a link for one.", err=True)
        return
    rows = [((each.session_id, each.origin), each) for each in sessions]
    print_held(("session", "opened with"), rows, end="until", states=HeldStates("ended", "open", "over"), wide=wide)


@sign_in.command()
@data_options(must_exist=True)
@click.argument("session_id", metavar="SESSION")
def revoke(config: Path | None, data_dir: Path, session_id: str) -> None:
    """End a browser session: the server refuses its cookie from now on.

    SESSION is the id that `sign-in list` shows, or any beginning of it that no other has.

    \b
    Example:
      central-command sign-in revoke ses_0f3a

    Exit status: 0 ended, 1 there is no such session.
    """
    from persistence.databases.browser_sessions import BrowserSessionFile
    from persistence.format import times
    from persistence.format.layout import DataLayout

    settings_from(config, {})
    with one_sentence_for_failures():
        sessions = BrowserSessionFile(DataLayout(data_dir).access_database, time.time)
        ended = sessions.revoke(session_id, times.to_text(time.time()))
    if ended is None:
        leave(
            "there is no browser session whose id alone begins so: `central-command sign-in list` lists them",
            EXIT_FAILED,
        )
    noted(data_dir, "browser_session_revoked", ended)
    click.echo(f"{ended} is ended")
