"""`token`: who may ask a server for what its open endpoints do not give."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, one_sentence_for_failures
from central_command.commands.noting import noted
from central_command.commands.options import data_options, settings_from, wide_option

if TYPE_CHECKING:
    from persistence.databases.access_file import Held

SCOPES = ("read", "intake", "export", "admin")


@click.group()
def token() -> None:
    """Make, list and revoke the tokens that a server lets in, also while it runs.

    \b
    Example:
      central-command token create --scope intake --expires 90d --name shop
      central-command token list
    """


@token.command()
@data_options(must_exist=True)
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="What it is for; repeatable."
)
@click.option("--expires", metavar="TIME", help="How long it is valid: 12h, 90d or 4w.  [default: until revoked]")
@click.option("--name", default="", help="What it is called in the list: at most 64 characters.")
def create(config: Path | None, data_dir: Path, scopes: tuple[str, ...], expires: str | None, name: str) -> None:
    """Make a token and print it, once: only its SHA-256 is kept.

    Standard output has the token alone, standard error its id.

    \b
    Example:
      (umask 077; central-command token create --scope intake --expires 90d --name shop > token.txt)

    Exit status: 0 made, 2 refused (a wrong option, or as many tokens as access.tokens_max allows).
    """
    from central_command.access.labels import is_label
    from central_command.access.making import NAME_CHARS_MAX, Maker
    from central_command.access.tokens import Scope
    from persistence.databases.access_tokens import TooManyTokens
    from persistence.format.layout import DataLayout
    from persistence.format.times import duration_s

    settings = settings_from(config, {})
    lasting_s = None if expires is None else duration_s(expires)
    if expires is not None and lasting_s is None:
        leave("--expires takes a whole number and h, d or w, such as 90d", EXIT_REFUSED)
    if not is_label(name, NAME_CHARS_MAX):
        leave("--name takes at most 64 characters that can be printed", EXIT_REFUSED)
    with one_sentence_for_failures():
        path = DataLayout(data_dir).access_database
        maker = Maker(path, settings.access, clock=time.time, random_bytes=os.urandom)
        made = maker.token([Scope(each) for each in scopes], name, lasting_s)
    if isinstance(made, TooManyTokens):
        leave("there are as many tokens as access.tokens_max allows: revoke one, or set it higher", EXIT_REFUSED)
    noted(data_dir, "token_made", made.stored.token_id)
    click.echo(made.text)
    click.echo(f"{made.stored.token_id}: keep the token now, it is not shown again", err=True)


@token.command("list")
@data_options(must_exist=True)
@wide_option
def list_tokens(config: Path | None, data_dir: Path, *, wide: bool) -> None:
    """List the tokens: their ids, names and scopes, until when they are valid, when they were used last.

    The use is noted every access.last_use_interval_s; that of a browser session is one of the token it was opened with.

    \b
    Example:
      central-command token list
    """
    from persistence.databases.access_tokens import TokenFile
    from persistence.format.layout import DataLayout

    settings_from(config, {})
    with one_sentence_for_failures():
        tokens = TokenFile(DataLayout(data_dir).access_database, time.time).all()
    if not tokens:
        click.echo("There is no token: `central-command token create` makes one.", err=True)
        return
    rows = [((each.token_id,), each) for each in tokens]
    print_held(("token",), rows, end="expires", states=HeldStates("revoked", "valid", "expired"), wide=wide)


class HeldStates(NamedTuple):
    """What is said of something that lets somebody in, and was revoked, is valid, or has expired."""

    revoked: str
    valid: str
    expired: str


def print_held(
    names: Sequence[str],
    rows: "Sequence[tuple[Sequence[str], Held]]",
    *,
    end: str,
    states: HeldStates,
    wide: bool,
) -> None:
    """Print what lets somebody in, a row each: cells under `names`, and what all of them have; `end` is its expiry."""
    from central_command.terminal.listing import Column, Listing, print_listing

    listing = Listing(
        *map(Column, names),
        Column("name", may_be_cut=True),
        Column("scopes"),
        Column("state"),
        Column(end),
        Column("used"),
    )
    now = time.time()
    for cells, held in rows:
        state = states.revoked if held.revoked_at else states.valid if held.is_valid(now) else states.expired
        moments = ("never" if each is None else each[:19] for each in (held.expires_at, held.last_used_at))
        listing.add(*cells, held.name, " ".join(held.scopes), state, *moments)
    print_listing(listing, wide=wide)


@token.command()
@data_options(must_exist=True)
@click.argument("token_id", metavar="TOKEN")
def revoke(config: Path | None, data_dir: Path, token_id: str) -> None:
    """Revoke a token: the server refuses it from now on, and browser sessions that were opened with it.

    TOKEN is the id that `token list` shows, or any beginning of it that no other has.

    \b
    Example:
      central-command token revoke tok_0f3a

    Exit status: 0 revoked, 1 there is no such token.
    """
    from persistence.databases.access_tokens import TokenFile
    from persistence.format import times
    from persistence.format.layout import DataLayout

    settings_from(config, {})
    with one_sentence_for_failures():
        revoked = TokenFile(DataLayout(data_dir).access_database, time.time).revoke(
            token_id, times.to_text(time.time())
        )
    if revoked is None:
        leave("there is no token whose id alone begins so: `central-command token list` lists them", EXIT_FAILED)
    noted(data_dir, "token_revoked", revoked)
    click.echo(f"{revoked} is revoked")
