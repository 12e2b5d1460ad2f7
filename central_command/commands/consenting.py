"""`consent` and `data`: what the user of this machine shares, and what of it is stored here."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no database)

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from central_command.commands.asking import ask, yes_option
from central_command.commands.endings import EXIT_FAILED, leave, one_sentence_for_failures
from central_command.process.paths import PathTo

if TYPE_CHECKING:
    from central_command.training.consent import ConsentManager
    from central_command.training.corpus import TrainingCorpus

F = TypeVar("F", bound=Callable[..., Any])

_SAID = {
    "none": "nothing yet: nothing is collected",
    "given": "given: what the notice names is collected",
    "outdated": "given to other terms than those of now: nothing is collected",
    "withdrawn": "withdrawn: nothing is collected",
}

local_dir_option = click.option(
    "--local-dir",
    type=PathTo("folder", must_exist=False),
    default=Path("~/.groove"),
    show_default=True,
    help="Folder with the user's id, their consent and their records.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")
_SERVERS_MAX = 5
"""So many servers are named of those that this machine sent to."""


class Local(NamedTuple):
    """The files of one folder, and its user; None for the user, and no file, until there is one."""

    folder: Path
    user_id: str | None
    consent: "ConsentManager"
    corpus: "TrainingCorpus"


def _local(folder: Path) -> Local:
    from central_command.training.consent import ConsentManager
    from central_command.training.corpus import TrainingCorpus
    from central_command.training.local_user import read_user_id

    folder = folder.expanduser()
    return Local(
        folder,
        read_user_id(folder / "user_id"),
        ConsentManager(folder / "consent.db"),
        TrainingCorpus(folder / "training_data"),
    )


@click.group()
def consent() -> None:
    """Say whether your data may be used, and see what you said.

    Consent is for the applications on this machine that capture by central_command.training. Nothing is collected
    before you give it, and nothing of it is sent anywhere. What may be done with the sessions that you sent to a server
    is said there: `central-command contributor`. `stats`, `events`, `record`, `import`: for whoever runs a server.

    \b
    Example:
      central-command consent show
    """


@consent.command()
@local_dir_option
@json_option
def show(*, local_dir: Path, as_json: bool) -> None:
    """Print what is collected of those who agree, and what you said.

    \b
    Example:
      central-command consent show --json
    """
    with one_sentence_for_failures():
        if not as_json:
            _print_notice()
        _print_state(_local(local_dir), as_json=as_json)


@consent.command(short_help="Agree to what is collected on this machine.")
@local_dir_option
@yes_option
@json_option
def give(*, local_dir: Path, yes: bool, as_json: bool) -> None:
    """Print what is collected of those who agree, ask, and note that you agree.

    Without a terminal nothing is asked: a script that has the user's consent gives --yes.

    \b
    Example:
      central-command consent give
      central-command consent give --yes --json

    Exit status: 0 consent is given, 1 you did not agree, 2 nobody could be asked.
    """
    from central_command.training.local_user import get_or_create_user_id
    from persistence.format.consent_events import CURRENT_CONSENT_VERSION

    with one_sentence_for_failures():
        _print_notice(err=as_json)
        local = _local(local_dir)
        if local.user_id is None or not local.consent.is_opted_in(local.user_id):
            ask("Do you agree?", yes=yes)
            user_id = get_or_create_user_id(local.folder / "user_id")
            local.consent.record_consent(user_id, opted_in=True, consent_version=CURRENT_CONSENT_VERSION)
        _print_state(_local(local_dir), as_json=as_json)


@consent.command()
@local_dir_option
@json_option
def withdraw(*, local_dir: Path, as_json: bool) -> None:
    """Take your consent back: capture stops at once. What is stored stays until `central-command data --delete`.

    It is about this machine alone. Of what was sent to a server: `central-command contributor withdraw`.

    \b
    Example:
      central-command consent withdraw
    """
    with one_sentence_for_failures():
        local = _local(local_dir)
        if local.user_id is not None:
            local.consent.revoke_consent(local.user_id)
        _print_state(local, as_json=as_json)


@consent.command(short_help="List what you said, oldest first.")
@local_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line instead, one for each event.")
def history(*, local_dir: Path, as_json: bool) -> None:
    """List what you said, oldest first, and check that none of it was changed since.

    \b
    Example:
      central-command consent history

    Exit status: 0 nothing was changed, 1 something was.
    """
    import msgspec

    from central_command.commands.printing.consent_events import events_listing
    from central_command.terminal.listing import print_listing
    from persistence.format.consent_events import shown

    with one_sentence_for_failures():
        local = _local(local_dir)
        events = [] if local.user_id is None else local.consent.events(local.user_id)
        check = local.consent.check()
    if as_json:
        for each in events:
            click.echo(msgspec.json.encode(each).decode())
    else:
        print_listing(events_listing(map(shown, events), empty="You have said nothing yet: nothing is collected."))
    if check.wrong is not None:
        leave(f"{local.folder / 'consent.db'} was changed: {check.wrong}.", EXIT_FAILED)


@consent.command(short_help="Print what you agreed to as JSON.")
@local_dir_option
def receipt(*, local_dir: Path) -> None:
    """Print what you agreed to as JSON, with the fields of ISO/IEC TS 27560.

    It is not signed: the machine that makes it is your own. A server signs the receipts that it gives.

    \b
    Example:
      central-command consent receipt > receipt.json

    Exit status: 0 it was printed, 1 there is nothing to print, because you have said nothing yet.
    """
    import msgspec

    from central_command.training.notice import NOTICE
    from central_command.training.receipt import receipt_of

    with one_sentence_for_failures():
        local = _local(local_dir)
        events = [] if local.user_id is None else local.consent.events(local.user_id)
    if not events:
        leave("you have neither given nor withdrawn consent yet, so there is no receipt.", EXIT_FAILED)
    made = receipt_of(events, NOTICE, stored_in=(str((local.folder / "training_data").absolute()),))
    click.echo(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())


@click.command()
@local_dir_option
@click.option("--stats", is_flag=True, help="Print how much is stored.")
@click.option(
    "--export",
    type=PathTo("file", must_exist=False),
    metavar="FILE",
    help="Write your records to a file, as JSON lines.",
)
@click.option("--delete", is_flag=True, help="Withdraw consent, and delete every record of yours.")
@click.option("--yes", is_flag=True, help="Do not ask before records are deleted or a file is replaced.")
@json_option
def data(*, local_dir: Path, stats: bool, export: Path | None, delete: bool, yes: bool, as_json: bool) -> None:
    """See, take along or delete what applications on this machine have stored of you.

    \b
    Example:
      central-command data --stats
      central-command data --export my_data.jsonl
      central-command data --delete

    Exit status: 0 it was done, 1 you did not agree to it, 2 nobody could be asked, or something stood in its way.
    """
    if [stats, export is not None, delete].count(True) != 1:
        raise click.UsageError("Give one of --stats, --export FILE and --delete.")
    with one_sentence_for_failures():
        local = _local(local_dir)
        if stats:
            _print_stats(local, as_json=as_json)
        elif export is not None:
            _export(local, export, yes=yes, as_json=as_json)
        else:
            _delete(local, yes=yes, as_json=as_json)


def _print_stats(local: Local, *, as_json: bool) -> None:
    from central_command.training.stats import CorpusStats

    stats = CorpusStats(local.corpus, local.consent)
    if as_json:
        figures = {"daily_growth": stats.daily_growth(), "domain_breakdown": stats.domain_breakdown()}
        _print_json({**stats.summary(), **figures})
    else:
        stats.print_report()


def _export(local: Local, path: Path, *, yes: bool, as_json: bool) -> None:
    if path.exists():
        ask(f"{path} is there already. Replace it?", yes=yes)
    count = 0
    if local.user_id is not None:
        count = local.corpus.export_jsonl(path, user_id=local.user_id)
    if as_json:
        _print_json({"records": count, "file": str(path) if local.user_id is not None else None})
    elif local.user_id is None:
        click.echo("Nothing is stored of you: no file was written.")
    else:
        click.echo(f"{count:,} record(s) are in {path}.")


def _delete(local: Local, *, yes: bool, as_json: bool) -> None:
    from actors.curation.domains import DomainTagger
    from actors.curation.scrubbing.scrubber import PIIScrubber
    from central_command.training.intake import TrainingDataIntake

    done = {"consent_revoked": False, "records_deleted": 0}
    if local.user_id is not None:
        ask("Withdraw your consent, and delete every record of yours?", yes=yes)
        intake = TrainingDataIntake(local.consent, local.corpus, PIIScrubber(), DomainTagger())
        done = intake.delete_user(local.user_id)
    if as_json:
        _print_json(done)
    else:
        click.echo(f"{done['records_deleted']:,} record(s) were deleted, and nothing more is collected.")
        if elsewhere := _elsewhere():
            click.echo(f"Not of what was sent to a server: {elsewhere}.")


def _print_notice(*, err: bool = False) -> None:
    from central_command.training.notice import NOTICE

    click.echo(NOTICE.text, err=err)


def _print_state(local: Local, *, as_json: bool) -> None:
    from central_command.terminal.facts import print_facts
    from central_command.training.notice import NOTICE
    from persistence.format.consent_events import CURRENT_CONSENT_VERSION, ConsentState
    from persistence.format.times import to_text

    state, events = ConsentState.NONE, []
    if local.user_id is not None:
        state, events = local.consent.state(local.user_id), local.consent.events(local.user_id)
    last = events[-1] if events else None
    since = None if last is None else to_text(last.at_us / 1_000_000)
    if as_json:
        _print_json(
            {
                "user_id": local.user_id,
                "state": state,
                "opted_in": state is ConsentState.GIVEN,
                "since": since,
                "version": None if last is None else last.version,
                "current_version": CURRENT_CONSENT_VERSION,
                "notice": {"version": NOTICE.version, "sha256": NOTICE.sha256, "text": NOTICE.text},
            }
        )
        return
    facts = [("consent", _SAID[state]), ("terms now", CURRENT_CONSENT_VERSION)]
    if last is not None:
        facts += [("since", since or ""), ("to terms", last.version)]
    facts += [("user id", local.user_id or "none yet"), ("kept in", str(local.folder))]
    if elsewhere := _elsewhere():
        facts.append(("at a server", elsewhere))
    print_facts(facts)


def _elsewhere() -> str:
    """Where the rest is said, if this machine has sent to a server or has an id for it; all above is about it alone."""
    from central_command.client.contract.identity import config_directory, contributor_id_path
    from central_command.client.spool.records import SpoolError, spool_path
    from central_command.client.spool.spool import Spool

    spool, servers = spool_path(os.environ), list[str]()
    if spool.exists():
        with suppress(SpoolError), Spool(spool) as opened:
            servers = opened.urls(limit=_SERVERS_MAX)
    elif not contributor_id_path(config_directory(os.environ)).exists():
        return ""
    place = f" (sent to: {', '.join(servers)})" if servers else ""
    return (
        f"see central-command contributor show, and withdraw or erase there; this machine's consent is another{place}"
    )


def _print_json(value: object) -> None:
    import msgspec

    click.echo(msgspec.json.encode(value).decode())
