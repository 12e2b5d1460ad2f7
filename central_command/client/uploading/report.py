"""What an upload says in the end: some lines for each file, and a table of all sessions."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from actors.envelopes.settings import SchemaSettings
from actors.trajectories.models import tier_of
from actors.trajectories.settings import ScoringSettings
from central_command.client.contract.endpoints import DEFAULT_URL
from central_command.client.contract.scrubbing import WITHHELD
from central_command.client.spool.records import SessionState, StoredSession
from central_command.client.transcripts.json_values import count_of, text_of
from central_command.client.transcripts.reader import Transcript
from central_command.client.uploading.duration import (
    REQUESTS_PER_MINUTE,
    duration_s,
    in_words,
)
from central_command.client.uploading.history import (
    ERASED,
    GOES_ON,
    WITHDRAWN,
    failure_of,
    state_of,
    steps_forgotten,
)
from central_command.client.uploading.names import shown_path
from central_command.client.uploading.planning import Plan
from central_command.client.uploading.survey import Survey
from central_command.reaching.unreachable import printable
from central_command.terminal.listing import Cell, Column, Listing, Value
from central_command.terminal.short_ids import SESSION_CHARS_MIN, shortened

PROVIDER_REFUSED = "provider must be one of"
"""Part of what a server says that takes no sessions of an agent."""
_ASKS_FOR_TIME = frozenset({429, 503})
_ADVICE = {
    WITHDRAWN: "an upload sends it once you have given consent again: central-command contributor give",
    ERASED: "neither trying again nor --no-resume will help",
}
"""What to do about a failure, where it is not the usual thing."""


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file: what was said of it, the sessions it has on the server, and a problem, one sentence.

    `findings` says by session what was scrubbed from the steps that were sent now, by category.
    `already_there` says that nothing was left to send; `unreachable` that the server could not be had any more,
    and `status` what it answered last, None where no answer came.
    `nothing_in_it` says why there is nothing to send of a file of a folder, which is no failure; `kept` that steps of a
    file that is gone wait.
    """

    path: Path
    notes: tuple[str, ...] = ()
    sessions: tuple[StoredSession, ...] = ()
    findings: dict[str, dict[str, int]] = {}
    earlier: frozenset[str] = frozenset()
    problem: str | None = None
    nothing_in_it: str | None = None
    kept: str | None = None
    already_there: bool = False
    unreachable: bool = False
    status: int | None = None


def describe(transcript: Transcript, model: str) -> list[str]:
    """What a transcript holds, and what of it could not be read."""
    usage = transcript.usage
    lines = [f"{transcript.step_count} steps by {printable(model)} ({transcript.provider})"]
    if usage.output_tokens:
        lines[0] += f", which reported {usage.input_tokens:,} tokens read and {usage.output_tokens:,} written"
    if transcript.unreadable_lines:
        lines.append(f"{transcript.unreadable_lines} unreadable line(s) left out: no JSON objects, or too large")
    if transcript.skipped_sidechain_events:
        lines.append(f"{transcript.skipped_sidechain_events} event(s) of sub-agents left out")
    if transcript.started_s is None:
        lines.append("the file holds no times: every step carries that of this upload")
    return lines


def describe_model(model: str) -> Iterator[str]:
    """That a model has no factor, where the server's settings are the usual ones."""
    if tier_of(model, ScoringSettings().model_tiers) is None:
        yield f"the model {printable(model)} has no factor: its steps count 1 point each"


def describe_providers(providers: Iterable[str], *, were_refused: bool = False) -> Iterator[str]:
    """Of which agents a server takes no sessions as it comes, a line each; `were_refused` says that one has not."""
    usual = () if were_refused else SchemaSettings().providers
    for each in sorted({*providers}.difference(usual)):
        only = f"{printable(each)}: a server takes these only where its operator has added it to schema.providers"
        yield f"{only}; ask for that, and upload them again then." if were_refused else f"{only}."


def describe_adjusted(count: int) -> Iterator[str]:
    """That some times are wrong, and what is done with them."""
    if count:
        yield f"{count} step(s) have a wrong time, which is put between those of their neighbours, and marked"


def describe_rest(
    known: Survey, *, left: int, is_further: bool, waiting: int = 0, forgotten: int = 0, is_planned: bool = False
) -> Iterator[str]:
    """What of a file's steps is left to send.

    `waiting` of those that are not left were signed by an earlier try, and the server has not got them; `forgotten` of
    them are told elsewhere. `is_planned`
    says of a dry run that the others, and the session that ended, are those of another file of that run.
    """
    if known.copied_steps:
        yield f"{known.copied_steps} of its steps are a copy of another session, and were sent with that one: left out"
    taken = max(0, len(known.times) - known.copied_steps - left - forgotten)
    waiting = min(waiting, taken)
    if waiting:
        yield f"{waiting} of its steps were signed by an earlier try and have not arrived yet"
    if taken > waiting:
        were = "would be sent with another of these files" if is_planned else "were sent before"
        yield f"{taken - waiting} of its steps {were}"
    if is_further and left:
        ended = "their session would have ended by then" if is_planned else "its session on the server has ended"
        yield f"{ended}: the new steps become a further session"


def lines_of_problem(report: FileReport) -> Iterable[str]:
    """What is said of a file that was not delivered whole, and nothing of any other."""
    if report.problem is not None:
        yield f"{shown_path(report.path)}:"
        yield from _lines_of_problem(report, report.problem)


def lines_of(report: FileReport) -> Iterable[str]:
    """The report of one file, as lines; a session's id stands in the table."""
    yield f"{shown_path(report.path)}:"
    for note in report.notes:
        yield f"  {note}"
    if report.nothing_in_it is not None:
        yield f"  nothing to send: {report.nothing_in_it}"
    for session in report.sessions:
        if session.session_id not in report.earlier:
            yield from (f"  {line}" for line in _lines_of_session(session))
    forgotten = steps_forgotten(report.sessions)
    if forgotten:
        yield f"  {forgotten:,} of its steps were forgotten (mine --forget) and are not sent: --no-resume sends it anew"
    if report.already_there and not forgotten:
        yield "  already uploaded completely: skipped (--no-resume sends it anew)"
    if report.problem is not None:
        yield from _lines_of_problem(report, report.problem)


def _lines_of_problem(report: FileReport, problem: str) -> Iterable[str]:
    yield f"  not delivered: {problem}"
    if report.kept is not None:
        yield f"  {report.kept}"
    elif failure := ERASED if problem == ERASED else failure_of(report.sessions):
        yield f"  {_ADVICE.get(failure, 'trying again will not help; --no-resume sends the file anew')}"


def in_order(findings: Mapping[str, int]) -> str:
    """What was found, by category, the most frequent first: `3 email, 1 api_key`."""
    return ", ".join(
        f"{count} {category}" for category, count in sorted(findings.items(), key=lambda each: (-each[1], each[0]))
    )


def describe_findings(findings: Mapping[str, int], *, scrubs: bool) -> Iterator[str]:
    """What was scrubbed in all, without saying what it was."""
    if not scrubs:
        yield "Not scrubbed (--no-scrub): personal data and secrets are sent as they stand."
        return
    withheld = findings.get(WITHHELD, 0)
    replaced = {category: count for category, count in findings.items() if category != WITHHELD}
    yield f"Scrubbed: {in_order(replaced) or 'nothing was found'}."
    if withheld:
        yield f"{withheld} text(s) could not be scrubbed and are not sent; [WITHHELD] stands in their place."


def describe_passed_over(count: int, since_s: float) -> str:
    """How many files were not looked at for their age."""
    moment = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{count:,} file(s) have not changed since {moment} (--since): passed over."


def describe_held(url: str) -> str:
    """That the server uses nothing of what was sent until its terms are agreed to."""
    at = "" if url == DEFAULT_URL else f" --url {printable(url)}"
    give = f"central-command contributor give{at}"
    return f"What you sent is held there, and not used, until you agree to the server's terms: {give}"


def describe_kept(steps: int, url: str) -> str:
    """That steps which were signed of a file that is gone stand in the spool alone, and for how long."""
    forget = f"central-command mine --forget {printable(url)}"
    tries = "each upload to this server and each watch tries again"
    return f"{steps:,} step(s) of it are in no file any more and are kept: {tries}, until {forget} drops what waits"


def describe_left_over(steps: int, files: int) -> str:
    """What of files that are gone would be sent, too: of a dry run."""
    return f"{steps:,} step(s) that wait in the spool, of {files:,} file(s) that are gone, would be sent, too."


def describe_untried(count: int, status: int | None, *, was_reached_again: bool = False) -> str:
    """How many files were not tried, and why: what the server answered last, None where no answer came."""
    if was_reached_again:
        why = "the server could not be reached, or asked for time, meanwhile: run it again to go on."
    elif status is None:
        why = "the server cannot be reached."
    elif status in _ASKS_FOR_TIME:
        why = f"the server asks for time ({status}): run it again to go on."
    else:
        why = f"the server answers with status {status}."
    return f"{count} more file(s) were not tried, because {why}"


def _lines_of_session(session: StoredSession) -> Iterator[str]:
    yield (
        f"accepted: {session.envelopes_accepted} of {session.envelopes} envelopes, "
        f"{session.steps_accepted} of {session.steps} steps"
    )
    if session.points is not None:
        steps = "" if session.credited_steps is None else f" for {session.credited_steps} steps"
        yield f"credited: {session.points:,.10g} points{steps}"
    elif session.state is SessionState.CLOSED and session.problem is None:
        yield "credited: the server did not say"
    yield from _said_at_close(session)
    if session.problem in GOES_ON:
        yield f"{session.problem}: what came after it is a further session"


def _said_at_close(session: StoredSession) -> Iterator[str]:
    """What else the server said of a credit."""
    answer = _answer(session)
    if copied := count_of(answer.get("copied_steps")):
        whose = printable(text_of(answer.get("copied_from"))) or "an earlier session"
        which = f"all {copied} steps are" if copied == session.credited_steps else f"{copied} step(s) are"
        yield f"{which} a copy of what the server has of {whose}: they earn nothing"
    if "model_tier" in answer and answer["model_tier"] is None:
        yield f"the server has no factor for the model {printable(session.opening.model)}: it counts 1"


def reports_listing(reports: Sequence[FileReport]) -> Listing:
    """One row a session, or a file without one."""
    listing = Listing(
        Column("file", may_be_cut=True),
        Column("session"),
        Column("envelopes", is_figure=True, wide_only=True),
        Column("steps", is_figure=True),
        Column("points", is_figure=True),
        Column("result"),
        Column("scrubbed", wide_only=True),
    )
    short = shortened((each.session_id for report in reports for each in report.sessions), SESSION_CHARS_MIN)
    for report in reports:
        if report.nothing_in_it is not None:
            continue
        for session in report.sessions:
            listing.add(
                report.path.name,
                Cell(session.session_id, short[session.session_id]) if session.opened else "",
                session.envelopes_accepted,
                session.steps_accepted,
                session.points,
                _result(report, session),
                in_order(report.findings.get(session.session_id, {})),
            )
        if not report.sessions:
            listing.add(report.path.name, "", 0, 0, None, _result_without(report), "")
    if len(listing) > 1:
        listing.sums(*_sums(reports))
    return listing


def _sums(reports: Sequence[FileReport]) -> tuple[Value, ...]:
    """The last row of `reports_listing`; a session of two files, one a copy of the other, counts once."""
    sessions = {each.session_id: each for report in reports for each in report.sessions}
    copied = sum(count_of(_answer(each).get("copied_steps")) or 0 for each in sessions.values())
    return (
        f"{sum(report.nothing_in_it is None for report in reports):,} file(s)",
        f"{len(sessions):,} session(s)",
        sum(each.envelopes_accepted for each in sessions.values()),
        sum(each.steps_accepted for each in sessions.values()),
        math.fsum(each.points or 0 for each in sessions.values()),
        Cell(f"{copied:,} of the steps are copies", f"{copied:,} copied") if copied else "",
        "",
    )


def _answer(session: StoredSession) -> Mapping[str, Any]:
    """What the server said at a session's close."""
    answer: Mapping[str, Any] = json.loads(session.close_answer or "{}")
    return answer


def json_lines_of(reports: Sequence[FileReport]) -> Iterator[str]:
    """The rows of `reports_listing`, a JSON object each; `scrubbed` counts what was found, by category.

    A session that was never opened has no id: no server knows it.
    """
    for report in reports:
        if report.nothing_in_it is not None:
            continue
        for session in report.sessions:
            yield json.dumps(
                {
                    "file": shown_path(report.path),
                    "session_id": session.session_id if session.opened else None,
                    "envelopes": session.envelopes_accepted,
                    "steps": session.steps_accepted,
                    "points": session.points,
                    "result": _result(report, session).whole,
                    "problem": report.problem,
                    "scrubbed": report.findings.get(session.session_id, {}),
                }
            )
        if not report.sessions:
            result = _result_without(report)
            yield json.dumps({"file": shown_path(report.path), "result": result, "problem": report.problem})


def json_lines_of_plans(plans: Sequence[tuple[Path, Plan | str]]) -> Iterator[str]:
    """A JSON object for each file: the row of `plans_listing`, or the `problem` for which it cannot be delivered.

    `scrubbed` counts what would be, by category.
    """
    for path, each in plans:
        members: dict[str, object]
        if isinstance(each, str):
            members = {"result": "not to be delivered", "problem": each}
        else:
            members = {
                "sessions": each.sessions,
                "envelopes": each.envelopes,
                "bytes": each.bytes,
                "steps": each.steps,
                "note": _note(each),
                "problem": None,
                "scrubbed": each.findings,
            }
        yield json.dumps({"file": shown_path(path)} | members)


def _result_without(report: FileReport) -> str:
    """What became of a file that has no session."""
    if report.problem is not None:
        return "not delivered"
    return "a copy of another session" if report.already_there else ""


def _result(report: FileReport, session: StoredSession) -> Cell:
    continued = state_of(session).continues is not None
    is_earlier = session.session_id in report.earlier
    is_whole = session.problem in {None, *GOES_ON} and (is_earlier or session.state is SessionState.CLOSED)
    if report.problem == ERASED and session.envelopes_accepted:
        word = "erased"
    elif is_whole and report.problem != ERASED:
        word = "there before" if is_earlier else "delivered"
    else:
        word = "not delivered"
    return Cell(f"{word}, continues the one before", f"{word} (goes on)") if continued else Cell(word)


def lines_of_plan(known: Survey, notes: Sequence[str], plan: Plan, shift: Iterable[str]) -> Iterable[str]:
    """What is said of a file that would be sent; `shift` is what is said of its times."""
    yield f"{shown_path(known.path)}:"
    left = sum(plan.steps.values())
    rest: Iterable[str] = ()
    if left or plan.waiting_steps:
        rest = describe_rest(
            known,
            left=left,
            is_further=plan.is_further,
            waiting=plan.waiting_steps,
            is_planned=plan.is_planned,
        )
    for note in (*notes, *describe_adjusted(plan.adjusted), *rest, *shift):
        yield f"  {note}"


def describe_duration(plans: Sequence[Plan], opens_per_h: int) -> str:
    """How long sending all of it would take, where so many sessions are opened in an hour."""
    opened = sum(each.sessions - each.continues for each in plans)
    seconds = duration_s(sessions=opened, opens_per_h=opens_per_h)
    takes = f"sending takes {in_words(seconds)} at least" if seconds else "nothing has to wait"
    limits = f"{opens_per_h:,} new sessions an hour, {REQUESTS_PER_MINUTE} requests a minute"
    return f"Under the limits that a server has by default ({limits}), {takes}."


def plans_listing(plans: Sequence[tuple[Path, Plan]]) -> Listing:
    """What would be sent, a row a file, and the sums."""
    listing = Listing(
        Column("file", may_be_cut=True),
        Column("sessions", is_figure=True),
        Column("envelopes", is_figure=True, wide_only=True),
        Column("bytes", is_figure=True),
        Column("steps", is_figure=True),
        Column("note"),
        Column("of these", wide_only=True),
        Column("scrubbed", wide_only=True),
    )
    for path, each in plans:
        listing.add(
            path.name,
            each.sessions,
            each.envelopes,
            each.bytes,
            sum(each.steps.values()),
            _note(each),
            ", ".join(f"{count} {kind}" for kind, count in sorted(each.steps.items())),
            in_order(each.findings),
        )
    listing.sums(
        f"{len(plans)} file(s)",
        sum(each.sessions for _, each in plans),
        sum(each.envelopes for _, each in plans),
        sum(each.bytes for _, each in plans),
        sum(sum(each.steps.values()) for _, each in plans),
        "",
        "",
        "",
    )
    return listing


def _note(plan: Plan) -> str:
    if not plan.envelopes:
        return "the same as another of these files" if plan.is_planned else "already uploaded completely"
    return "goes on with an open session" if plan.continues else ""
