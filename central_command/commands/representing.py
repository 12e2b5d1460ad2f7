"""`contributor`: the id and the key that this machine delivers with, and what is said to a server in that name."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no key)

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import httpx

from central_command.client.contract.connection import Trust, new_client
from central_command.client.contract.identity import config_directory
from central_command.client.contract.server_options import server_options
from central_command.client.uploading.options import own_identity
from central_command.commands.asking import ask, yes_option
from central_command.commands.endings import EXIT_FAILED, leave, one_sentence_for_failures, run_to_end
from central_command.process.paths import PathTo
from central_command.terminal.unread import going_on_unread

if TYPE_CHECKING:
    from central_command.client.consenting.statements import ErasureStanding, ShownConsent, Statements
    from persistence.format.consent_events import Decision

T = TypeVar("T")
_RECEIPT_BYTES_MAX = 1_048_576
_ERASURE_WAIT_S = 120.0
_STAYS = """\
What stays of an erasure: what was said of your consent and the public half of your key, both under a digest of your id;
what was credited, as amounts of nobody; backups, and exports that were handed out before. It reaches this server alone,
and nothing of this machine: its spool and your id with its key are yours to delete, once the erasure is done."""
_SAID = {
    "none": "nothing yet: your first upload here is taken as your agreement to these terms",
    "given": "given: what you sent may be used as the notice says",
    "outdated": "given to other terms than those of now: nothing is used",
    "withdrawn": "withdrawn: nothing is used, and nothing more is taken",
}
_ERASED = "erased: nothing is taken in your name any more, and nothing that you sent before is used, whatever you say"
_HELD = {
    "none": "nothing yet: what you send is held, and not used, until you agree (central-command contributor give)",
    "outdated": "given to other terms than those of now: what you sent is held, and not used, until you agree to these"
    " (central-command contributor give)",
}
"""The same, where the server holds back what was sent."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print what the server answered instead.")
contributor_id_option = click.option(
    "--contributor-id", metavar="HEX", help="This contributor (32 hexadecimal digits) instead of your own id."
)


@contextmanager
def _one_sentence() -> Iterator[None]:
    from central_command.client.consenting.receipts import NotGenuineError
    from central_command.client.consenting.statements import NotAnsweredError
    from central_command.client.contract.contributor_files import ContributorFileError
    from central_command.client.contract.contributor_keys import ContributorKeyError
    from central_command.client.contract.identity import IdentityError

    with one_sentence_for_failures():
        try:
            yield
        except (
            ContributorFileError,
            ContributorKeyError,
            IdentityError,
            NotAnsweredError,
            NotGenuineError,
        ) as error:
            raise click.ClickException(str(error)) from error


@click.group()
def contributor() -> None:
    """Look after the contributor that you deliver as: the id that is credited, and its key.

    An id that was made on this machine has a key, which every session is opened with: from the first one on, a server
    credits nobody in your name who has not got it. What may be done with what you sent is said to each server by
    itself, and signed with the key where there is one.

    \b
    Example:
      central-command contributor show
      central-command contributor withdraw
      central-command contributor erase
      central-command contributor export contributor.json
    """


@contributor.command(short_help="Write your id and its key to a file.")
@click.argument("file", type=PathTo("file", must_exist=False))
@contributor_id_option
def export(*, file: Path, contributor_id: str | None) -> None:
    """Write your id and its key to FILE, for another machine of yours.

    Whoever has the file can deliver, and give and withdraw consent, in your name: take it over a safe way, import it
    there, and delete it.

    \b
    Example:
      central-command contributor export contributor.json

    Exit status: 0 it was written, 1 FILE is there already, or cannot be written.
    """
    from central_command.client.contract.contributor_files import export_contributor

    with _one_sentence():
        identity = own_identity(contributor_id)
        key = export_contributor(config_directory(os.environ), identity.contributor_id, file)
    click.echo(f"{file} holds your id {'and its key' if key else 'alone, which has no key'}: keep it secret.")


@contributor.command(short_help="Deliver as the contributor in a file.", name="import")
@click.argument("file", type=PathTo("file", must_exist=True))
@yes_option
def import_(*, file: Path, yes: bool) -> None:
    """Deliver from here as the contributor in FILE, which `export` wrote on another machine.

    Sessions that wait for the key on this machine go with the next upload, watch or recorder. An id that was kept here
    until now stays beside the new one; it is asked about only where something was delivered or recorded with it, as
    `whoami` alone makes one.

    \b
    Example:
      central-command contributor import contributor.json

    Exit status: 0 done, 1 FILE is none, or you did not agree, 2 nobody could be asked.
    """
    from central_command.client.contract.contributor_files import read_contributor, take_contributor
    from central_command.client.contract.identity import kept_contributor_id

    directory = config_directory(os.environ)
    with _one_sentence():
        found = read_contributor(file)
        if kept_contributor_id(directory) not in {None, found.contributor_id} and _has_delivered():
            ask("Another contributor is credited for what is delivered from here. Take this one instead?", yes=yes)
        former = take_contributor(directory, found)
    says = "with its key" if found.private_key is not None else "which has no key"
    click.echo(f"This machine delivers as contributor {found.contributor_id} from now on, {says}.")
    if former is not None:
        click.echo(f"The former id is kept in {former}.")
    click.echo(f"Delete {file}: whoever has it can speak in your name.")


def _has_delivered() -> bool:
    """Whether anything was delivered or recorded from here, in whatever name; what cannot be read may have been."""
    from central_command.client.spool.records import SpoolError, spool_path
    from central_command.client.spool.spool import Spool

    path = spool_path(os.environ)
    try:
        if not path.exists():
            return False
        with Spool(path) as spool:
            return bool(spool.urls(limit=1))
    except (OSError, SpoolError):
        return True


@contributor.command(short_help="Make a key for an id that has none.", name="register-key")
@contributor_id_option
@yes_option
def register_key(*, contributor_id: str | None, yes: bool) -> None:
    """Make a key for an id that has none; the next session that is opened from here registers it.

    From then on the server credits a session to this id only if it was opened with the key, for good: every machine
    that delivers as this contributor needs it (`export`, `import`), and programs that do not know keys cannot use the
    id any more. What other machines have recorded meanwhile waits there until they have the key. Ids that were made on
    this machine have one from the beginning.

    \b
    Example:
      central-command contributor register-key

    Exit status: 0 there is a key, 1 you did not agree, 2 nobody could be asked.
    """
    from central_command.client.contract.contributor_keys import key_path, make_key

    directory = config_directory(os.environ)
    with _one_sentence():
        identity = own_identity(contributor_id)
        if identity.key_of(identity.contributor_id) is None:
            ask("Every machine that uses this id will need the key. Make one?", yes=yes)
            make_key(directory, identity.contributor_id)
    click.echo(f"The key is in {key_path(directory, identity.contributor_id)}: keep a copy of it.")


@contributor.command(short_help="Print what a server has of what you said.")
@server_options
@contributor_id_option
@json_option
def show(*, url: str, trust: Trust, contributor_id: str | None, as_json: bool) -> None:
    """Print what a server has of what you said, and what it asks you to agree to.

    \b
    Example:
      central-command contributor show
    """
    seen, holds = _at_server(url, trust, contributor_id, _seen)
    if not as_json:
        _print_terms(seen)
        click.echo()
    _print_shown(seen, holds, url, as_json=as_json)


@contributor.command(short_help="Agree to a server's terms.")
@server_options
@contributor_id_option
@yes_option
@json_option
def give(*, url: str, trust: Trust, contributor_id: str | None, yes: bool, as_json: bool) -> None:
    """Print what a server asks you to agree to, ask, and tell it that you agree.

    What you sent before and withdrew comes back, and more is taken. Published clients say so by sending.

    \b
    Example:
      central-command contributor give

    Exit status: 0 the server has it on disk, 1 it has not, or you did not agree, 2 nobody could be asked.
    """
    from persistence.format.consent_events import ConsentState, Decision

    seen = _at_server(url, trust, contributor_id, lambda statements: statements.shown())
    if seen.erased:
        leave(f"this contributor was erased at {url}: consent would change nothing; another id can send.", EXIT_FAILED)
    _print_terms(seen, err=as_json)
    if seen.state is not ConsentState.GIVEN:
        ask(f"Do you agree to version {seen.current_version} of these terms?", yes=yes)
    _say(Decision.GIVEN, seen, url, trust, contributor_id, as_json=as_json)


@contributor.command(short_help="Take your consent back at a server.")
@server_options
@contributor_id_option
@click.option("--yes", is_flag=True, help="Taken as `give` and `erase` take it; nothing is asked here.")
@json_option
def withdraw(*, url: str, trust: Trust, contributor_id: str | None, yes: bool, as_json: bool) -> None:
    """Tell a server that what you sent may not be used, and nothing more be taken.

    When the command ends with 0, the server has it on disk: it refuses what is sent in your name from then on, and what
    you sent leaves its corpus. What is credited stays credited. Each server has to be told by itself. Nothing is asked:
    it can be given again.

    \b
    Example:
      central-command contributor withdraw

    Exit status: 0 the server has it on disk, 1 it has not.
    """
    from persistence.format.consent_events import Decision

    del yes  # taking back is as easy with it as without
    seen = _at_server(url, trust, contributor_id, lambda statements: statements.shown())
    _say(Decision.WITHDRAWN, seen, url, trust, contributor_id, as_json=as_json)


@contributor.command(short_help="Have a server erase all that you sent.")
@server_options
@contributor_id_option
@click.option(
    "--wait-s",
    type=click.FloatRange(0, 86_400),
    default=_ERASURE_WAIT_S,
    show_default=True,
    help="So many seconds it is waited for the erasure to be done.",
)
@yes_option
@json_option
@going_on_unread()
def erase(*, url: str, trust: Trust, contributor_id: str | None, wait_s: float, yes: bool, as_json: bool) -> None:
    """Ask, and have a server erase everything that was sent in your name, for good.

    It also tells the server that you withdraw your consent. From then on nothing is taken there in your name, not even
    when you give consent again. What stays is printed before you are asked. The server does it behind its answer and
    searches all of its files in the end, which takes half a minute at least; run again, the command says how the same
    request stands. Of what lies on the server's own backups and exports, its operator knows (docs/privacy.md).

    \b
    Example:
      central-command contributor erase

    Exit status: 0 it is done, 1 it is not done yet, or you did not agree, 2 nobody could be asked.
    """
    click.echo(_STAYS, err=as_json)
    ask(f"Erase everything that was sent to {url} in your name?", yes=yes)
    standing = _at_server(url, trust, contributor_id, lambda statements: statements.erase())
    click.echo(f"The erasure is asked for: nothing more is taken in your name ({standing.request}).", err=as_json)
    _withdraw_with(url, trust, contributor_id)
    standing = _at_server(url, trust, contributor_id, lambda statements: statements.followed(standing, for_s=wait_s))
    _print_standing(standing, url, as_json=as_json)
    if not standing.is_done:
        leave("it is not done yet; run the command again to see how it stands.", EXIT_FAILED)


@contributor.command(short_help="Print a signed receipt of what you said.")
@server_options
@contributor_id_option
def receipt(*, url: str, trust: Trust, contributor_id: str | None) -> None:
    """Print a receipt of what you said, signed by the server: JSON with the fields of ISO/IEC TS 27560.

    \b
    Example:
      central-command contributor receipt > receipt.json
      central-command contributor verify receipt.json

    Exit status: 0 it was printed, 1 there is none.
    """
    import msgspec

    found = _at_server(url, trust, contributor_id, lambda statements: statements.receipt())
    click.echo(msgspec.json.format(msgspec.json.encode(found, order="sorted"), indent=2).decode())


@contributor.command(short_help="Check a receipt that a server gave you.")
@click.argument("file", type=PathTo("file", must_exist=True))
@server_options
@contributor_id_option
def verify(*, file: Path, url: str, trust: Trust, contributor_id: str | None) -> None:
    """Check that the receipt in FILE was made by a server and not changed since, and is yours.

    The server is asked for the key that it signs receipts with. docs/privacy.md says how to verify one with openssl.

    \b
    Example:
      central-command contributor verify receipt.json

    Exit status: 0 it is genuine and yours, 1 it is not, or the server cannot be asked.
    """
    import msgspec

    from central_command.client.consenting.receipts import ReceiptAnswer, is_of, verify_receipt
    from central_command.client.consenting.statements import receipt_keys
    from central_command.terminal.facts import print_facts

    with _one_sentence(), file.open("rb") as opened:
        try:
            kept = msgspec.json.decode(opened.read(_RECEIPT_BYTES_MAX), type=ReceiptAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{file} holds no receipt: {error}.") from error
        keys = run_to_end(_with_client, url, trust, receipt_keys)
        facts = verify_receipt(kept, keys)
    if not is_of(facts, own_identity(contributor_id).contributor_id):
        leave(f"the receipt is genuine, and of another contributor than this machine's (made by {url}).", EXIT_FAILED)
    print_facts(
        [
            ("receipt", f"genuine, by the key that {url} publishes"),
            ("consent", facts.state),
            ("made at", facts.issued_at),
            ("events", f"{len(facts.events):,}"),
        ]
    )


def _at_server(
    url: str, trust: Trust, contributor_id: str | None, ask_for: "Callable[[Statements], Awaitable[T]]"
) -> T:
    """What a server answers in the contributor's name, or the end of the command with one sentence."""
    from central_command.client.consenting.statements import Statements

    async def asked(client: httpx.AsyncClient) -> T:
        return await ask_for(Statements(client, identity.contributor_id, key, now_s=time.time))

    with _one_sentence():
        identity = own_identity(contributor_id)
        key = identity.key_of(identity.contributor_id)
        return run_to_end(_with_client, url, trust, asked)


async def _with_client(url: str, trust: Trust, call: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    async with new_client(url, trust) as client:
        return await call(client)


def _say(
    decision: "Decision", seen: "ShownConsent", url: str, trust: Trust, contributor_id: str | None, *, as_json: bool
) -> None:
    """Say it unless it is what was said last, and print what the server has then."""
    if seen.state.value == decision.value:
        click.echo(f"It was {decision.value} already: nothing was changed.", err=True)
    else:
        _at_server(url, trust, contributor_id, lambda statements: statements.say(decision, seen))
    _print_shown(*_at_server(url, trust, contributor_id, _seen), url, as_json=as_json)


async def _seen(statements: "Statements") -> "tuple[ShownConsent, bool]":
    """What the server has, and whether it says that it holds back what was sent until its terms are agreed to."""
    seen = await statements.shown()
    return seen, await statements.holds(seen)


def _withdraw_with(url: str, trust: Trust, contributor_id: str | None) -> None:
    """Withdraw beside an erasure, which goes on also where that cannot be recorded."""
    from persistence.format.consent_events import ConsentState, Decision

    async def withdraw(statements: "Statements") -> None:
        seen = await statements.shown()
        if seen.state is not ConsentState.WITHDRAWN:
            await statements.say(Decision.WITHDRAWN, seen)

    try:
        _at_server(url, trust, contributor_id, withdraw)
    except click.ClickException as error:
        click.echo(f"That you withdraw your consent could not be recorded: {error.message}", err=True)


def _print_standing(standing: "ErasureStanding", url: str, *, as_json: bool) -> None:
    import msgspec

    from central_command.terminal.facts import print_facts

    if as_json:
        click.echo(msgspec.json.encode(standing).decode())
        return
    says = "asked for, and under way"
    if standing.is_done:
        says = f"done: {sum(standing.erased_lines.values()):,} line(s) were erased, nothing of you is left there"
    elif standing.hindered:
        says = "hindered: something holds it up, which the server's operator is told; it is tried again"
    print_facts([("erasure", says), ("request", standing.request), ("server", url)])


def _print_terms(shown: "ShownConsent", *, err: bool = False) -> None:
    """What the server asks to agree to, without what could steer a terminal."""
    from central_command.commands.printing.terminal import clean

    click.echo(clean(shown.notice.text), err=err)


def _print_shown(shown: "ShownConsent", holds: bool, url: str, *, as_json: bool) -> None:  # noqa: FBT001
    import msgspec

    from central_command.commands.printing.consent_events import events_listing
    from central_command.terminal.facts import print_facts
    from central_command.terminal.listing import print_listing

    if as_json:
        click.echo(msgspec.json.encode(shown).decode())
        return
    print_listing(events_listing(shown.history, empty="Nothing was said in your name there yet."))
    click.echo()
    says = _ERASED if shown.erased else (_HELD if holds else _SAID)[shown.state]
    print_facts([("consent", says), ("terms now", shown.current_version), ("server", url)])
