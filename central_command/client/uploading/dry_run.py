"""What `upload --dry-run` prints: of each file what would be sent, or why nothing can be; nothing is asked or kept."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from central_command.client.contract.placing import Placing
from central_command.client.spool.records import spool_path
from central_command.client.uploading.duration import opens_per_h
from central_command.client.uploading.history import History, steps_waiting
from central_command.client.uploading.introduction import describe_agreement, describe_credited
from central_command.client.uploading.left_over import left_over
from central_command.client.uploading.names import shown_path
from central_command.client.uploading.options import EXIT_FAILED, Options, credited_id, work_of, would_sign
from central_command.client.uploading.planning import Plan, copied_history, plan
from central_command.client.uploading.progress import Printing
from central_command.client.uploading.report import (
    NOTHING_FOUND,
    describe,
    describe_duration,
    describe_findings,
    describe_left_over,
    describe_model,
    describe_providers,
    json_lines_of_plans,
    lines_of_plan,
    plans_listing,
)
from central_command.client.uploading.since import recent
from central_command.client.uploading.sources import FileError, Found, NoStepsError
from central_command.client.uploading.summary import Failure, Usual, describe_failed, lines_of_failures
from central_command.client.uploading.survey import survey
from central_command.terminal.listing import print_listing


class _Planned(msgspec.Struct):
    """Of each file its plan, or why it cannot be delivered; and of whose agents they are."""

    every: list[tuple[Path, Plan | str]] = []
    providers: set[str] = set()

    @property
    def plans(self) -> list[tuple[Path, Plan]]:
        return [(path, planned) for path, planned in self.every if isinstance(planned, Plan)]

    @property
    def failures(self) -> list[Failure]:
        return [(path, problem) for path, problem in self.every if isinstance(problem, str)]


def usual_of(files: Sequence[Found], *, verbose: bool) -> Usual:
    """Of one file everything is said; of many what is usual is counted."""
    return Usual(of_each=verbose or len(files) <= 1)


def print_failures(failures: Sequence[Failure], printing: Printing, heading: str, *, of: int) -> None:
    """By reason, where there were several; a quiet command has said nothing else, and does not say it again."""
    if failures and of > 1 and not printing.quiet:
        for line in (heading, *lines_of_failures(failures)):
            click.echo(line, err=True)


def print_dry_run(every: Sequence[Found], options: Options, printing: Printing) -> int:
    """Print what would be sent; returns the exit status."""
    with copied_history(spool_path(os.environ), url=options.url, resume=options.resume) as history:
        is_first = options.resume and not history.is_known
        files = recent(every, history, options, printing)
        usual, planned = usual_of(files, verbose=printing.verbose), _Planned()
        for found in files:
            _plan(found, history, options, printing, usual, planned)
        gone = left_over(history)
    if gone:
        printing.tell(describe_left_over(steps_waiting(gone), len(gone)))
    plans, failures = planned.plans, planned.failures
    if printing.as_json:
        for line in json_lines_of_plans(planned.every):
            click.echo(line)
    elif plans and not printing.quiet:
        print_listing(plans_listing(plans), wide=printing.wide)
    for line in usual.lines():
        printing.tell(line)
    if any(each.envelopes for _, each in plans):
        _tell_of_all(planned, options, printing, is_first=is_first)
    if not planned.every and len(files) == len(every):
        click.echo(NOTHING_FOUND, err=True)
    printing.tell("Nothing was sent.")
    if failures:
        print_failures(failures, printing, "Would not be delivered:", of=len(files))
        click.echo(describe_failed(failures, of=len(planned.every), is_planned=True), err=True)
    return EXIT_FAILED if failures or not (plans or len(files) < len(every)) else 0


def _plan(
    found: Found, history: History, options: Options, printing: Printing, usual: Usual, planned: _Planned
) -> None:
    """Say of one file what would be sent, and note it."""
    try:
        surveyed = survey(found.checked(), options.provider)
        source = history.source_of(surveyed)
        surveyed = history.without_copies(surveyed, source)
        work = work_of(surveyed, source, options)
        its_plan = plan(history, work, surveyed, now_s=time.time(), scrubs=options.scrub)
    except FileError as error:
        if isinstance(error, NoStepsError) and not found.named:
            printing.tell(f"{shown_path(found.path)}:\n  nothing to send: {error}")
        else:
            click.echo(f"{shown_path(found.path)}:\n  not to be delivered: {error}", err=True)
            planned.every.append((found.path, str(error)))
        return
    left_out = usual.left_out(surveyed.transcript.left_out)
    notes = [*describe(surveyed.transcript, work.model), *left_out, *describe_model(work.model)]
    for line in lines_of_plan(surveyed, notes, its_plan, usual.shift(its_plan.placing or Placing())):
        printing.tell(line)
    planned.every.append((found.path, its_plan))
    if its_plan.envelopes:
        planned.providers.add(work.provider)


def _tell_of_all(planned: _Planned, options: Options, printing: Printing, *, is_first: bool) -> None:
    """How long it takes, what of it is scrubbed, what a server may not take, and who would be credited."""
    plans = [each for _, each in planned.plans]
    printing.tell(describe_duration(plans, opens_per_h(is_signed=would_sign(options))))
    findings = sum((Counter(each.findings) for each in plans), Counter[str]())
    lines = [*describe_findings(findings, scrubs=options.scrub), *describe_providers(planned.providers)]
    lines.append(describe_credited(credited_id(options)))
    for line in [*lines, describe_agreement(options.url)] if is_first else lines:
        printing.tell(line)
