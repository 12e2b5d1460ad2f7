"""`whoami` and `mine`: who delivers from here, and what became of it."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no spool)

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import httpx
import msgspec
import trio
from click.core import ParameterSource

from central_command.client.contract.connection import Trust, new_client
from central_command.client.contract.endpoints import LEADERBOARD_PATH
from central_command.client.contract.identity import Identity
from central_command.client.contract.server_options import server_options
from central_command.client.delivering.posting import TRY_LATER, Delivery
from central_command.client.uploading.options import own_identity
from central_command.client.uploading.standing import ConsentStanding
from central_command.commands.asking import ask, yes_option
from central_command.commands.endings import EXIT_FAILED, leave, run_to_end
from central_command.reaching.addresses import URL_VARIABLES
from central_command.reaching.unreachable import Undelivered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from central_command.client.spool.records import SpoolTotals, StoredSession, WaitingFor

T = TypeVar("T")
_LEADERS_MAX = 100
_CONTRIBUTOR_CHARS = 8
"""So much of an id a server shows of others."""
_SERVERS_MAX = 5
"""So many servers are named that something waits for."""
_PATIENCE_S = 15.0
_TRIES_MAX = 5
"""For how long, and how often, a server is asked that asks for time."""
_ERASED = "erased: what is listed here is what this machine was answered before, and none of it is there now"
_FILES_MAX = 10
"""So many files are named of which something was forgotten."""
_NO_KEY = "none: whoever knows the id can use it; `central-command contributor register-key` makes one"


class _Leader(msgspec.Struct, frozen=True):
    """A row of `/v1/stats/leaderboard`."""

    contributor_id: str
    total_points: float
    total_sessions: int


@click.command()
@server_options
def whoami(*, url: str, trust: Trust) -> None:
    """Print who is credited for what is delivered from here, and where everything is.

    The id is made on first use (this is one), at random, and kept, and with it a key that sessions are signed with;
    nothing of the hardware is in it. To be credited on another machine as the same contributor, take both there:
    `central-command contributor export` and `import`.

    \b
    Example:
      central-command whoami
    """
    from central_command.client.contract.contributor_keys import ContributorKeyError, key_path
    from central_command.client.contract.identity import config_directory, contributor_id_path
    from central_command.client.spool.records import spool_path
    from central_command.terminal.facts import print_facts

    del trust  # nothing is asked
    identity, directory = own_identity(None), config_directory(os.environ)
    try:
        key = identity.key_of(identity.contributor_id)
    except ContributorKeyError as error:
        raise click.ClickException(str(error)) from error
    is_by_variable = click.get_current_context().get_parameter_source("url") is ParameterSource.ENVIRONMENT
    named_by = next((f" ({name})" for name in URL_VARIABLES if is_by_variable and os.environ.get(name)), "")
    print_facts(
        [
            ("contributor", identity.contributor_id),
            ("kept in", str(contributor_id_path(directory))),
            ("key", str(key_path(directory, identity.contributor_id)) if key else _NO_KEY),
            ("machine", identity.machine_fingerprint),
            ("server", f"{url}{named_by}"),
            ("spool", str(spool_path(os.environ))),
            ("version", identity.client_version),
        ]
    )


@click.command()
@server_options
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="The last so many.")
@click.option("--wide", is_flag=True, help="Print every column and whole ids, also on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
@click.option("--forget", "forgotten", metavar="URL", help="Drop what waits for this address, instead of listing.")
@yes_option
def mine(*, url: str, trust: Trust, limit: int, wide: bool, as_json: bool, forgotten: str | None, yes: bool) -> None:
    """List what was delivered from here to a server, what waits, and what was credited.

    The sessions and their points are what this machine knows of them: what the server answered when each was closed.
    The last lines are the sums of all of them, and what the server itself says that you have in all (also from other
    machines), if it can be asked and you are among its first hundred. `kept` are steps that a program has recorded and
    that no signed envelope holds yet: also those of a program that was killed. What the server refuses to open, and
    what was read from files that are gone since, is kept and said, until it is delivered or forgotten; sessions that
    were refused come first, and are listed only where there is room.

    What waits for an address that was wrong is dropped by --forget; what the server there has taken stays noted.

    \b
    Example:
      central-command mine --wide
      central-command mine --json
      central-command mine --forget http://wrong.example:8443

    Exit status of --forget: 0 it is forgotten, 1 you did not agree, nothing waits, or another program sends it, 2
    nobody could be asked.
    """
    from central_command.client.spool.records import SpoolError, spool_path
    from central_command.client.spool.spool import Spool
    from central_command.commands.printing.contributions import (
        contributions_listing,
        contributions_members,
        stuck_facts,
    )
    from central_command.commands.printing.terminal import clean_json
    from central_command.terminal.facts import print_facts
    from central_command.terminal.listing import print_listing

    path = spool_path(os.environ)
    if forgotten is not None:
        _forget(path, forgotten.rstrip("/"), yes=yes)
        return
    identity = own_identity(None)
    try:
        with Spool(path) as spool:
            sessions, totals = spool.sessions_to(url, limit=limit), spool.totals_to(url)
            elsewhere = [each for each in spool.waiting_for() if each.url != url]
            stuck = [*stuck_facts(spool.unfinished(url), spool.sessions_with_source(url), url)]
            listing = contributions_listing(sessions)
    except SpoolError as error:
        raise click.ClickException(str(error)) from error
    is_sending = bool(totals.sessions_open)
    if as_json:
        at_server = run_to_end(_at_server, url, trust, identity, is_sending=is_sending)
        whose = {"server": url, "contributor_id": identity.contributor_id}
        found = whose | contributions_members(sessions, totals, elsewhere, stuck) | {"at_server": at_server}
        click.echo(clean_json(msgspec.json.encode(found).decode()))
        return
    print_listing(listing, wide=wide)
    click.echo()
    at_server = run_to_end(_at_server, url, trust, identity, is_sending=is_sending)
    waits = f"{totals.envelopes_waiting:,} envelope(s) in {totals.sessions_open:,} session(s)"
    kept = f"{totals.steps_kept:,} step(s), not signed yet: the recorder that runs sends them, or the next one does"
    print_facts(
        [
            ("delivered", f"{totals.steps_accepted:,} step(s) in {totals.sessions_delivered:,} session(s)"),
            ("waits", f"{waits}: {_goes_on(totals, path)}" if totals.sessions_open else "nothing"),
            *stuck,
            *([("kept", kept)] if totals.steps_kept else []),
            *(("waits elsewhere", _waits(each)) for each in elsewhere[:_SERVERS_MAX]),
            ("credited", f"{totals.points:,.10g} points, as answered at each close"),
            ("at the server", at_server.says),
        ]
    )
    if totals.sessions > len(sessions):
        click.echo(f"The last {len(sessions):,} of {totals.sessions:,} sessions are listed; --limit N lists more.")


def _forget(path: Path, url: str, *, yes: bool) -> None:
    from central_command.client.spool.records import SessionsInUseError, SpoolError
    from central_command.client.spool.spool import Spool

    try:
        with Spool(path) as spool:
            waits = {each.url: each for each in spool.waiting_for()}
            unfinished = [each for each in spool.unfinished(url) if each.source is not None]
            if url not in waits:
                others = f"; it does for {', '.join([*waits][:_SERVERS_MAX])}" if waits else ""
                leave(f"nothing waits for {url}{others}", EXIT_FAILED)
            ask(f"Forget {_lost(waits[url], unfinished)}?", yes=yes)
            click.echo(f"Forgotten: {_lost(spool.forget_waiting(url), unfinished)}.")
            for line in _still_in_files(unfinished):
                click.echo(line)
    except SessionsInUseError as error:
        leave(str(error), EXIT_FAILED)
    except SpoolError as error:
        raise click.ClickException(str(error)) from error


def _waits(each: "WaitingFor") -> str:
    return f"{each.steps:,} step(s) in {each.sessions:,} session(s) for {each.url}; --forget URL drops them"


def _lost(waits: "WaitingFor", of_files: "Sequence[StoredSession]") -> str:
    from central_command.client.uploading.history import is_gone, steps_waiting

    lost = f"{waits.steps:,} step(s) in {waits.sessions:,} session(s), never delivered to {waits.url}"
    if waits.steps_recorded:
        lost += f"; {waits.steps_recorded:,} of them were recorded, and are in no file"
    if gone := steps_waiting(each for each in of_files if is_gone(each)):
        lost += f"; {gone:,} of them were read from files that are gone"
    return lost


def _still_in_files(of_files: "Sequence[StoredSession]") -> "Iterator[str]":
    """What is to be done for the forgotten steps of files that are still there."""
    from central_command.client.spool.records import SpoolError
    from central_command.client.uploading.history import has_undelivered, is_gone, state_of
    from central_command.client.uploading.names import path_of, shown_path

    there = [each for each in of_files if has_undelivered(each) and not is_gone(each)]
    begun: list[str] = []
    for each in there:
        with suppress(SpoolError):  # what cannot be read can be forgotten all the same
            begun += [shown_path(path_of(state_of(each).path))] if each.opened else []
    begun = sorted(set(begun))
    if any(not each.opened for each in there):
        yield "What was never begun there stays in its files: an upload or a watch of them begins anew."
    if begun:
        yield (
            "Of these files the server may have a part. An upload or a watch goes on behind the forgotten steps; those"
            " are sent only by an upload with --no-resume, which sends the whole file anew:"
        )
        yield from (f"  {path}" for path in begun[:_FILES_MAX])
    if len(begun) > _FILES_MAX:
        yield f"  and {len(begun) - _FILES_MAX:,} more"


def _goes_on(totals: "SpoolTotals", path: Path) -> str:
    """Who sends what waits: a recorder what was recorded, and who reads a file what was read from it."""
    if not totals.envelopes_waiting:
        return "open, and nothing is to be sent of them yet"
    read = "an upload of the same file, or a watch of its folder, sends"
    recorded = "the next recorder for this server sends"
    if not totals.recorded_waiting:
        return f"{read} them from {path}"
    if totals.recorded_waiting == totals.envelopes_waiting:
        return f"{recorded} them from {path}"
    return f"{recorded} the {totals.recorded_waiting:,} that were recorded, {read} the others, from {path}"


class _AtServer(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of the contributor: in a few words, and in figures where it knows some."""

    says: str
    points: float | None = None
    sessions: int | None = None
    place: int | None = None
    is_erased: bool = False


async def _at_server(url: str, trust: Trust, identity: Identity, *, is_sending: bool) -> _AtServer:
    """Ask the server; with `is_sending`, something is on its way from here, which may be what keeps it busy."""
    async with new_client(url, trust) as client:
        delivery = Delivery(client)
        leaders = await _asked_patiently(lambda: delivery.get(LEADERBOARD_PATH, list[_Leader], limit=_LEADERS_MAX))
        if isinstance(leaders, Undelivered) and leaders.status == httpx.codes.BAD_REQUEST:  # it shows fewer at once
            leaders = await _asked_patiently(lambda: delivery.get(LEADERBOARD_PATH, list[_Leader]))
        if isinstance(leaders, Undelivered):
            return _AtServer(says=_why_not_known(leaders, is_sending=is_sending))
        place = _place_among(leaders, identity.contributor_id)
        if place is None and await ConsentStanding(client, identity, now_s=time.time).is_erased():
            return _AtServer(says=_ERASED, is_erased=True)
    if place is not None:
        return place
    if not leaders:
        return _AtServer(says="nobody has been credited yet")
    among = f"not among the first {len(leaders)} contributors"
    return _AtServer(says="not the one who is credited" if len(leaders) == 1 else among)


async def _asked_patiently(ask_it: "Callable[[], Awaitable[T | Undelivered]]") -> "T | Undelivered":
    """Ask again for some seconds as long as the server asks for time, and says how much."""
    left_s = _PATIENCE_S
    for _ in range(_TRIES_MAX - 1):
        answer = await ask_it()
        if not isinstance(answer, Undelivered) or answer.retry_after_s is None or answer.retry_after_s > left_s:
            return answer
        left_s -= answer.retry_after_s
        await trio.sleep(answer.retry_after_s)
    return await ask_it()


def _why_not_known(answer: Undelivered, *, is_sending: bool) -> str:
    if answer.status != httpx.codes.TOO_MANY_REQUESTS or answer.advice != TRY_LATER:
        return f"not known: {answer.reason}; {answer.advice}"
    busy = ", with what is sent from here for one" if is_sending else ""
    return f"not known now, as it is busy{busy} ({answer.reason}): the lines above are what this machine knows"


def _place_among(leaders: list[_Leader], contributor_id: str) -> _AtServer | None:
    mine = contributor_id[:_CONTRIBUTOR_CHARS]
    for place, leader in enumerate(leaders, 1):
        if leader.contributor_id[:_CONTRIBUTOR_CHARS] == mine:
            points, sessions = leader.total_points, leader.total_sessions
            says = f"{points:,.10g} points for {sessions:,} session(s), place {place}"
            return _AtServer(says=says, points=points, sessions=sessions, place=place)
    return None
