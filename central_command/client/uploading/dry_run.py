"""Which files an upload takes; and a dry run, which prints what an upload would send of them."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from central_command.client.contract.placing import Placing
from central_command.client.spool.records import spool_path
from central_command.client.uploading.duration import opens_per_h
from central_command.client.uploading.history import History, steps_waiting
from central_command.client.uploading.introduction import describe_agreement, describe_credited
from central_command.client.uploading.left_over import left_over
from central_command.client.uploading.names import shown_path
from central_command.client.uploading.options import Options, credited_id, work_of, would_sign
from central_command.client.uploading.planning import Plan, copied_history, plan
from central_command.client.uploading.progress import Printing
from central_command.client.uploading.report import (
    describe,
    describe_duration,
    describe_findings,
    describe_left_over,
    describe_model,
    describe_passed_over,
    describe_providers,
    json_lines_of_plans,
    lines_of_plan,
    plans_listing,
)
from central_command.client.uploading.sources import FileError, Found, NoStepsError, changed_since
from central_command.client.uploading.summary import Failure, Usual, describe_failed, lines_of_failures
from central_command.client.uploading.survey import survey
from central_command.terminal.listing import print_listing

EXIT_FAILED = 1
NOTHING_FOUND = "Error: nothing to send: no file that was found holds a session with steps."


def usual_of(files: Sequence[Found], *, verbose: bool) -> Usual:
    """Of one file everything is said; of many what is usual is counted."""
    return Usual(of_each=verbose or len(files) <= 1)


def recent(files: Sequence[Found], history: History, options: Options, printing: Printing) -> list[Found]:
    """The files that --since leaves, and those that an earlier upload has begun; says how many it does not."""
    if options.since_s is None:
        return list(files)
    left = changed_since(files, options.since_s, besides=history.unfinished_paths() if options.resume else ())
    if passed_over := len(files) - len(left):
        printing.tell(describe_passed_over(passed_over, options.since_s))
    return left


def print_failures(failures: Sequence[Failure], printing: Printing, heading: str, *, of: int) -> None:
    """By reason, where there were several; a quiet command has said nothing else, and does not say it again."""
    if failures and of > 1 and not printing.quiet:
        for line in (heading, *lines_of_failures(failures)):
            click.echo(line, err=True)


def _planned(found: Found, history: History, options: Options, printing: Printing, usual: Usual) -> Plan:
    """What would be sent of a file, printed. Raises FileError."""
    surveyed = survey(found.checked(), options.provider)
    source = history.source_of(surveyed)
    surveyed = history.without_copies(surveyed, source)
    work = work_of(surveyed, source, options)
    planned = plan(history, work, surveyed, now_s=time.time(), scrubs=options.scrub)
    left_out = usual.left_out(surveyed.transcript.left_out)
    notes = [*describe(surveyed.transcript, work.model), *left_out, *describe_model(work.model)]
    shift = usual.shift(planned.placing or Placing())
    for line in lines_of_plan(surveyed, notes, planned, shift):
        printing.tell(line)
    return planned


def dry_run_of(every: Sequence[Found], options: Options, printing: Printing) -> int:
    """Print what would be sent; returns the exit status."""
    every_plan: list[tuple[Path, Plan | str]] = []
    failures: list[Failure] = []
    with copied_history(spool_path(os.environ), url=options.url, resume=options.resume) as history:
        is_first = options.resume and not history.is_known
        files = recent(every, history, options, printing)
        usual = usual_of(files, verbose=printing.verbose)
        for found in files:
            try:
                planned = _planned(found, history, options, printing, usual)
            except FileError as error:
                is_empty = isinstance(error, NoStepsError) and not found.named
                if is_empty:
                    printing.tell(f"{shown_path(found.path)}:\n  nothing to send: {error}")
                else:
                    failures.append((found.path, str(error)))
                    every_plan.append((found.path, str(error)))
                    click.echo(f"{shown_path(found.path)}:\n  not to be delivered: {error}", err=True)
                continue
            every_plan.append((found.path, planned))
        gone = left_over(history)
    if gone:
        printing.tell(describe_left_over(steps_waiting(gone), len(gone)))
    plans = _print_plans(every_plan, options, printing, usual)
    if is_first and any(each.envelopes for each in plans):
        printing.tell(describe_agreement(options.url))
    if not plans and not failures and len(files) == len(every):
        click.echo(NOTHING_FOUND, err=True)
    printing.tell("Nothing was sent.")
    if failures:
        print_failures(failures, printing, "Would not be delivered:", of=len(files))
        click.echo(describe_failed(failures, of=len(plans) + len(failures), is_planned=True), err=True)
    return EXIT_FAILED if failures or not (plans or len(files) < len(every)) else 0


def _print_plans(
    every: Sequence[tuple[Path, Plan | str]], options: Options, printing: Printing, usual: Usual
) -> list[Plan]:
    """The files of which something can be planned, and what all of them come to; gives their plans."""
    plans = [(path, planned) for path, planned in every if isinstance(planned, Plan)]
    if printing.as_json:
        for line in json_lines_of_plans(every):
            click.echo(line)
    elif plans and not printing.quiet:
        print_listing(plans_listing(plans), wide=printing.wide)
    for line in usual.lines():
        printing.tell(line)
    sent = [planned for _, planned in plans if planned.envelopes]
    if sent:
        printing.tell(describe_duration(sent, opens_per_h(is_signed=would_sign(options))))
        findings = sum((Counter(planned.findings) for planned in sent), Counter[str]())
        lines = [
            *describe_findings(findings, scrubs=options.scrub),
            *describe_providers(each.provider for each in sent),
        ]
        for line in (*lines, describe_credited(credited_id(options))):
            printing.tell(line)
    return [planned for _, planned in plans]
