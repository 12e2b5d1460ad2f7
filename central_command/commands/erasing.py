"""`erase`: the data of a contributor, of a session or of a user; `expire`: what is past its time."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no server)

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, run_to_end
from central_command.commands.noting import noted
from central_command.commands.options import data_options, settings_from
from central_command.commands.stopped_server import opened_service
from central_command.process.steering import escaped
from central_command.terminal.unread import going_on_unread

if TYPE_CHECKING:
    from collections import Counter

    from actors.consent.register import SayOutcome
    from actors.erasure.job import Report, TooManyErasures
    from central_command.service import Service
    from central_command.settings.configuration import Settings
    from persistence.journals.erasure_register import ErasureSubject

CONTRIBUTOR = re.compile(r"\A[0-9A-Fa-f]{32}\Z")
CANDIDATES_MAX: Final = 5
"""Of the sessions that begin as one was named, so many are named."""


@click.command()
@data_options(must_exist=True)
@click.option("--contributor", metavar="ID", help="All that is credited to it, or names it.")
@click.option("--session", metavar="ID", help="One session, by its whole id: what is erased is gone.")
@click.option("--user", metavar="ID", help="All texts of a user, by the id that applications know them by.")
@click.option("--pending", is_flag=True, help="Do what was asked for before, and is not done.")
@click.option("--settle", metavar="REQUEST", help="The same, and end this request, if nothing was ever theirs.")
@going_on_unread()
def erase(
    config: Path | None,
    data_dir: Path,
    contributor: str | None,
    session: str | None,
    user: str | None,
    settle: str | None,
    *,
    pending: bool,
) -> None:
    """Erase all that a contributor has sent, one session, or the texts of a user of applications.

    Nothing of that contributor, or that user, is taken from then on; for a user it is also recorded that they withdraw.
    Every line of theirs is replaced by one that says only that it was erased; credits stay as amounts of nobody, so
    that sums agree. Then every file of the data directory is searched, and the request is done when nothing is found.
    It can be interrupted, and goes on with --pending, or when the server starts.

    The server must be stopped. While it runs, ask it: DELETE /v1/contributors/ID does the same, and for a user
    DELETE /v1/intake/users/ID.

    --settle REQUEST ends one that only an id hinders, which its asker has chosen so that it stands in what others have
    sent: where no session, no text and no line of theirs was ever found. Nothing of that id is taken all the same.

    It cannot reach backups and exports; it names the exports that hold something of what is erased, and `export DIR
    --incremental` takes that out of them (docs/privacy.md).

    \b
    Example:
      central-command erase --contributor 0123456789abcdef0123456789abcdef --data-dir /var/lib/central-command

    Exit status: 0 done, 1 not done yet (it says why), or there is no such session, 2 nothing was started, 3 stored data
    is damaged, 5 the disk failed.
    """
    from actors.erasure.job import TooManyErasures
    from persistence.journals.erasure_register import ErasureState

    named = _named(contributor, session, user, pending=pending, settle=settle)
    reports = run_to_end(_erase, settings_from(config, {}), data_dir, named, settle)
    if isinstance(reports, _NoSession):
        leave(reports.sentence(), EXIT_FAILED)
    if isinstance(reports, TooManyErasures):
        leave("there are as many requests as storage.erasures_max allows: set it higher", EXIT_REFUSED)
    if not isinstance(reports, list):
        leave(f"nothing is erased: that the user withdraws could not be recorded ({reports!r})", EXIT_REFUSED)
    if settle is not None:
        _note_settled(data_dir, settle, reports)
    if named is not None:
        noted(data_dir, "erasure_asked", reports[0].erasure.request)
    for report in reports:
        erasure = report.erasure
        if erasure.state is ErasureState.DONE:
            counts = ", ".join(f"{count:,} of {name}" for name, count in erasure.counts.items())
            click.echo(f"{erasure.request} is done: erased lines: {counts or 'none'}")
            if erasure.exports:
                click.echo(escaped(f"exports that hold something of it: {', '.join(erasure.exports)}"))
        else:
            click.echo(escaped(f"{erasure.request} is not done: {report.hindered}"), err=True)
    if any(report.erasure.state is not ErasureState.DONE for report in reports):
        raise SystemExit(EXIT_FAILED)


def _note_settled(data_dir: Path, request: str, reports: "list[Report]") -> None:
    """Note that a request was ended so; leave where there is no such one."""
    from persistence.journals.erasure_register import ErasureState

    by_request = {report.erasure.request: report.erasure.state for report in reports}
    if request not in by_request:
        leave(f"there is no request {request} that is not done", EXIT_FAILED)
    if by_request[request] is ErasureState.DONE:
        noted(data_dir, "erasure_settled", request)


@click.command()
@data_options(must_exist=True)
@going_on_unread()
def expire(config: Path | None, data_dir: Path) -> None:
    """Erase what is past its time, by the settings of [retention] and consent.hold_days.

    The server does so once a day by itself. It must be stopped.

    \b
    Example:
      central-command expire --data-dir /var/lib/central-command

    Exit status: 0 done, 2 nothing was started, 3 stored data is damaged, 5 the disk failed.
    """
    gone = run_to_end(_expire, settings_from(config, {}), data_dir)
    erased = ", ".join(f"{count:,} of {name}" for name, count in gone.items())
    click.echo(f"past their time, and erased: {erased or 'nothing'}")


def _named(
    contributor: str | None, session: str | None, user: str | None, *, pending: bool, settle: str | None
) -> "tuple[ErasureSubject, str] | None":
    """Whom or what the options name, which must be one; None for what is pending."""
    from actors.intake.reading import USER_ID, USER_ID_SENTENCE
    from persistence.journals.erasure_register import ErasureSubject

    by_subject = {ErasureSubject.CONTRIBUTOR: contributor, ErasureSubject.SESSION: session, ErasureSubject.USER: user}
    named = [(subject, name) for subject, name in by_subject.items() if name is not None]
    if len(named) + pending + (settle is not None) != 1:
        leave("name one of --contributor, --session, --user, --pending and --settle", EXIT_REFUSED)
    if contributor is not None and not CONTRIBUTOR.fullmatch(contributor):
        leave("--contributor takes 32 hexadecimal digits", EXIT_REFUSED)
    if user is not None and not USER_ID.match(user):
        leave(USER_ID_SENTENCE.replace("user_id", "--user").removesuffix("."), EXIT_REFUSED)
    return named[0] if named else None


class _NoSession(NamedTuple):
    """There is no session of that id; `beginning` are those whose ids begin so, one more than are named at most."""

    session_id: str
    beginning: list[str]

    def sentence(self) -> str:
        """What to do: ids are shortened in tables, and nothing is erased by a beginning."""
        none = f"there is no session {self.session_id} here: nothing is erased"
        if not self.beginning:
            return none
        named = ", ".join(self.beginning[:CANDIDATES_MAX])
        more = ", …" if len(self.beginning) > CANDIDATES_MAX else ""
        return f"{none}; name it by its whole id, of those that begin so: {named}{more}"


async def _expire(settings: "Settings", data_dir: Path) -> "Counter[str]":
    async with opened_service(settings, data_dir) as service:
        return await service.expiry.sweep()


async def _erase(
    settings: "Settings", data_dir: Path, named: "tuple[ErasureSubject, str] | None", settled: str | None
) -> "list[Report] | TooManyErasures | SayOutcome | _NoSession":
    """Erase whom or what is named, or what is pending; return what became of it, or why it was not asked for.

    Only a session may be one that there is not: of a contributor, or a user, something may still come.
    """
    from actors.erasure.job import Report

    async with opened_service(settings, data_dir) as service:
        if named is not None:
            if not await _is_known(service, *named):
                return _NoSession(named[1], await _beginning(service, named[1]))
            asked = await _asked(service, *named)
            if not isinstance(asked, Report):
                return asked
            requests = [asked.erasure.request]
        else:
            requests = [each.request for each in service.eraser.pending()]
        await service.eraser.erase_pending(settled)
        return [report for each in requests if (report := service.erasure(each)) is not None]


async def _asked(service: "Service", subject: "ErasureSubject", name: str) -> "Report | TooManyErasures | SayOutcome":
    """Ask for it as the endpoints do."""
    from persistence.journals.erasure_register import ErasureSubject

    return await (service.erase_user(name) if subject is ErasureSubject.USER else service.ask_erasure(subject, name))


async def _is_known(service: "Service", subject: "ErasureSubject", name: str) -> bool:
    """Whether there is what is to be erased, or was until it was erased."""
    from persistence.journals.erasure_register import ErasureSubject

    if subject is not ErasureSubject.SESSION or service.eraser.is_asked(subject, name):
        return True
    return await service.knows_session(name)


async def _beginning(service: "Service", text: str) -> list[str]:
    """The sessions whose ids begin so, as tables show them; `sess_` may be left out."""
    for beginning in (text, f"sess_{text}") if text else ():
        if found := await service.sessions_beginning(beginning, CANDIDATES_MAX + 1):
            return found
    return []
