"""`ban`, `unban`, `bans`: who may open no sessions."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, one_sentence_for_failures, run_to_end
from central_command.commands.noting import noted
from central_command.commands.options import data_options, settings_from, wide_option

if TYPE_CHECKING:
    from central_command.access.bans import BanDesk


@click.command()
@data_options(must_exist=True)
@click.option(
    "--machine", metavar="FINGERPRINT", help="A machine, by its fingerprint, or the beginning of one that has sent."
)
@click.option("--contributor", metavar="ID", help="A contributor; only the digest of the id is kept.")
@click.option("--address", metavar="NETWORK", help="An IP address, or a network (CIDR); of IPv6 the whole /64.")
@click.option("--reason", default="", help="Why, for the list: at most 200 characters. Nobody else is told.")
@click.option("--days", type=click.IntRange(1, 36_500), help="For how long.  [default: until taken back]")
def ban(
    config: Path | None,
    data_dir: Path,
    machine: str | None,
    contributor: str | None,
    address: str | None,
    reason: str,
    days: int | None,
) -> None:
    """Refuse a machine, a contributor or an address when it opens a session; also while the server runs.

    Give one of the three. A running server knows within access.bans_refresh_s. Sessions that are open go on, and so do
    contributors who do not say who they are when they open one. A ban of the same again replaces the one before.
    `sessions --json` names the machine of each session.

    \b
    Example:
      central-command ban --address 192.0.2.0/24 --reason "floods" --days 7

    Exit status: 0 banned, 2 refused (a wrong option, or as many bans as access.bans_max allows).
    """
    from central_command.access.bans import (
        REASON_CHARS_MAX,
        WRONG_REASON,
        Ban,
        BanKind,
        NotOne,
        subject_as_kept,
        with_whole_machine,
        wrong_subject,
    )
    from central_command.access.labels import is_label
    from persistence.databases.bans import TooManyBans
    from persistence.upkeep import inspection

    named = {
        kind: text
        for kind, text in zip(
            (BanKind.MACHINE, BanKind.CONTRIBUTOR, BanKind.ADDRESS), (machine, contributor, address), strict=True
        )
        if text is not None
    }
    if len(named) != 1:
        leave("give one of --machine, --contributor and --address, and only one", EXIT_REFUSED)
    ((kind, text),) = named.items()
    subject = subject_as_kept(kind, text)
    if subject is None:
        leave(f"--{wrong_subject(kind, text).removesuffix('.')}", EXIT_REFUSED)
    if not is_label(reason, REASON_CHARS_MAX):
        leave(f"--{WRONG_REASON.removesuffix('.')}", EXIT_REFUSED)
    desk = _desk(config, data_dir)
    known = run_to_end(inspection.machines, data_dir, subject) if kind is BanKind.MACHINE else ()
    whole = with_whole_machine(Ban(kind, subject, reason, days), known)
    if isinstance(whole, NotOne):
        leave(f"--{whole.sentence.removesuffix('.')}", EXIT_REFUSED)
    with one_sentence_for_failures():
        made = desk.ban(whole)
    if isinstance(made, TooManyBans):
        leave("there are as many bans as access.bans_max allows: take one back, or set it higher", EXIT_REFUSED)
    noted(data_dir, "banned", made.named)
    click.echo(f"{made.ban_id}: {kind} {whole.subject} may open no sessions")


@click.command()
@data_options(must_exist=True)
@click.argument("ban_id", metavar="BAN")
def unban(config: Path | None, data_dir: Path, ban_id: str) -> None:
    """Take a ban back; a running server knows within access.bans_refresh_s.

    BAN is the id that `bans` shows, or any beginning of it that no other has.

    \b
    Example:
      central-command unban ban_0f3a

    Exit status: 0 taken back, 1 there is no such ban.
    """
    with one_sentence_for_failures():
        removed = _desk(config, data_dir).unban(ban_id)
    if removed is None:
        leave("there is no ban whose id alone begins so: `central-command bans` lists them", EXIT_FAILED)
    noted(data_dir, "unbanned", removed.named)
    click.echo(f"{removed.ban_id} is taken back: {removed.kind} {removed.subject}")


@click.command()
@data_options(must_exist=True)
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line instead, one for each ban.")
def bans(config: Path | None, data_dir: Path, *, wide: bool, as_json: bool) -> None:
    """List who may open no sessions: who, since when, until when, and why.

    \b
    Example:
      central-command bans
    """
    import msgspec

    from central_command.commands.printing import terminal
    from central_command.terminal.listing import Column, Listing, print_listing
    from persistence.format import times

    with one_sentence_for_failures():
        found = _desk(config, data_dir).all()
    if as_json:
        for each in found:
            click.echo(terminal.clean_json(msgspec.json.encode(each).decode()))
        return
    if not found:
        click.echo("Nobody is banned.", err=True)
        return
    listing = Listing(
        Column("ban"),
        Column("kind"),
        Column("who", may_be_cut=True),
        Column("state"),
        Column("since"),
        Column("until"),
        Column("reason", may_be_cut=True),
    )
    now = times.to_text(time.time())
    for each in found:
        is_over = each.expires_at is not None and each.expires_at <= now
        until = "taken back" if each.expires_at is None else each.expires_at[:19]
        state = "over" if is_over else "banned"
        listing.add(each.ban_id, each.kind, each.subject, state, each.created_at[:19], until, each.reason)
    print_listing(listing, wide=wide)


def _desk(config: Path | None, data_dir: Path) -> "BanDesk":
    from central_command.access.bans import BanDesk
    from persistence.format.layout import DataLayout

    settings = settings_from(config, {})
    path = DataLayout(data_dir).access_database
    return BanDesk(path, settings.access, clock=time.time, random_bytes=os.urandom)
