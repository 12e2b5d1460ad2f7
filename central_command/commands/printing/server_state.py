"""A running server on one screen: what it says of itself, and what of that is wrong, a sentence each. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from central_command.process.steering import escaped

WIDTH: Final = 80
NAME_CHARS: Final = 10
REASONS_MAX: Final = 6
"""Reasons of refusals that are listed, the most frequent ones."""

Samples = Mapping[tuple[str, str], float]
"""Figures by their names, without the prefix, and the value of their one label; "" where there is none.

Those of jobs have two: the queue, a space, and the state.
"""

ASKED_FOR: Final = "export"
"""The queue of which a job that fails is no alarm: who asked for the export is told so, and may have asked in vain."""

CURATION_LAG_S_MAX: Final = 3_600.0
CHECK_AGE_S_MAX: Final = 172_800.0
PAUSED_S_MAX: Final = 86_400.0
PROJECTION_LAG_LINES_MAX: Final = 10_000
ROOM_BYTES_MIN: Final = 5_000_000_000

_SAID: Final = {
    "journals": "The journals are closed: the server is stopping",
    "projection": "The databases do not keep up with the journals: envelopes get 503",
    "disk": "Envelopes get 507: there is no room",
    "sessions": "The server is stopping",
    "lines": "Stored lines have changed on the disk: run verify, and restore these files",
    "erasures": "Somebody has asked to be erased, and is not: docs/operations.md, Erasure, has what to do",
    "access": "No token is let in, and bans made since then do not hold",
}
"""What a check that fails means; of any other its own words are enough."""

_NO_ROOM: Final = {
    "disk_full": "less is free on the disk than stays free (storage.free_bytes_min)",
    "quota_reached": "the journals have reached their quota (storage.quota_bytes)",
}
"""What the check of the disk says, in words."""


TOLD: Final = frozenset({"lines", "erasures", "access"})
"""Checks that are not needed to take envelopes in, and are wrong all the same where they fail."""


class Check(msgspec.Struct, frozen=True):
    """A check of `/readyz?verbose`."""

    name: str
    ok: bool
    needed: bool
    detail: str


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt of a server at `at`, in seconds since the epoch.

    `unreachable` is why nothing was; `samples` are missing for the reason that `no_samples` gives.
    """

    url: str
    at: float
    unreachable: str = ""
    ready: bool = False
    live: str = ""
    uptime_s: float = 0.0
    checks: tuple[Check, ...] = ()
    samples: Samples | None = None
    no_samples: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong, as far as is known."""
        return not any(True for _ in alarms(self))


def alarms(state: ServerState) -> Iterator[str]:
    """What is wrong, a sentence each, the worst first."""
    if state.unreachable:
        yield state.unreachable
        return
    if state.live:
        yield state.live
    for check in state.checks:
        if not check.ok and (check.needed or check.name in TOLD):
            said = _SAID.get(check.name, f"The check {check.name} fails")
            yield f"{said} ({_NO_ROOM.get(check.detail, check.detail)})."
    if not state.ready and all(check.ok or not check.needed for check in state.checks):
        yield "The server says that it is not ready, and not why."
    if state.samples is not None:
        yield from _alarms_of(state.samples, state.at)


def _alarms_of(samples: Samples, at: float) -> Iterator[str]:
    used, warning = samples.get(("quota_used_bytes", "")), samples.get(("quota_warning_bytes", ""))
    if used is not None and warning is not None and used >= warning:
        yield f"The journals hold {_bytes(used)}, past the warning level of their quota: make room, or raise it."
    free, least = samples.get(("disk_free_bytes", "")), samples.get(("disk_free_min_bytes", ""), 0.0)
    if free is not None and free - least < ROOM_BYTES_MIN:
        yield f"The disk has {_bytes(free)} left: make room before envelopes are refused."
    lag = samples.get(("projection_lag_lines", ""), 0.0)
    if lag > PROJECTION_LAG_LINES_MAX:
        yield f"The databases are {lag:,.0f} lines behind the journals."
    lag = samples.get(("curation_lag_seconds", ""), 0.0)
    if lag > CURATION_LAG_S_MAX:
        yield f"The corpus is {_duration(lag)} behind; the server's log says why."
    if samples.get(("jobs_out_of_order", "")):
        yield "Jobs rest: their database cannot be used; the server's log says why."
    failed = sum(count for queue, state, count in _jobs(samples) if state == "failed" and queue != ASKED_FOR)
    if failed:
        yield f"Failed jobs: {failed:,.0f}; `central-command jobs --status failed` lists them."
    forgotten = {queue: for_s for queue, for_s in _paused(samples, at).items() if for_s > PAUSED_S_MAX}
    if forgotten:
        told = ", ".join(f"{queue} for {_duration(for_s)}" for queue, for_s in forgotten.items())
        yield f"Queues of jobs are paused: {told}; `central-command jobs resume NAME` lets one go on."
    checked = samples.get(("check_last_pass_timestamp_seconds", ""))
    if checked is not None and at - checked > CHECK_AGE_S_MAX:
        yield f"All stored lines were last checked {_duration(at - checked)} ago: two days are too long."


def screen(state: ServerState) -> list[str]:
    """The state in lines of at most 80 columns."""
    found = list(alarms(state))
    lines = [f"{state.url}  {'not ok' if found else 'ok'}"]
    if not state.unreachable:
        ready = "ready" if state.ready else "NOT READY"
        lines += ["", _row("server", f"{ready}, up for {_duration(state.uptime_s)}")]
        lines += _listed("checks", [f"{each.name} {each.detail.replace('_', ' ')}" for each in state.checks])
    if state.samples is not None:
        lines += [line for name, items in _rows(state.samples, state.at) for line in _listed(name, items)]
    elif state.no_samples:
        lines += ["", *_wrapped(state.no_samples)]
    mark = "! " if found else ""
    lines += ["", *(line for sentence in found or ["Nothing is wrong."] for line in _wrapped(sentence, mark))]
    return [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in map(escaped, lines)]


def _rows(samples: Samples, at: float) -> Iterator[tuple[str, Sequence[str]]]:
    def of(name: str, label: str = "") -> float:
        return samples.get((name, label), 0.0)

    def summed(name: str) -> float:
        return sum(value for (found, _), value in samples.items() if found == name)

    in_all = f"{of('sessions'):,.0f} in all"  # the databases' count, which is behind that of what is in memory
    in_memory = f"{of('active_sessions'):,.0f} are in memory"
    yield "sessions", [f"{of('open_sessions'):,.0f} open", f"{in_all}; {in_memory}"]
    credited = [f"{of('credited_points'):,.0f} points", f"{of('contributors'):,.0f} contributors"]
    yield "totals", [f"{of('envelopes'):,.0f} envelopes", f"{of('steps'):,.0f} steps", *credited]
    texts = [f"embedding {of('embedding_pending_texts'):,.0f} texts", f"requests {of('requests_in_flight'):,.0f}"]
    yield "queues", [f"journals {summed('journal_queue_lines'):,.0f} lines", *texts]
    behind = f"databases {of('projection_lag_lines'):,.0f} lines"
    yield "lag", [behind, f"corpus {_duration(of('curation_lag_seconds'))}"]
    used = f"{_bytes(of('quota_used_bytes'))} used of {_bytes(of('quota_bytes'))}"
    yield "disk", [f"{_bytes(of('disk_free_bytes'))} free; {used}"]
    yield "refused", [f"{summed('refusals_total'):,.0f} requests since the start; dead letters are some of them"]
    yield "by reason", _refusals(samples)
    yield "erasure", [f"{of('erasure_open_requests'):,.0f} open requests"]
    states = Counter[str]()
    for _, state, count in _jobs(samples):
        states[state] += int(count)
    yield "jobs", [f"{count:,} {state}" for state, count in states.items()]
    yield "by queue", [f"{queue} {count:,.0f} {state}" for queue, state, count in _jobs(samples) if count]
    yield "paused", [f"{queue} for {_duration(for_s)}" for queue, for_s in _paused(samples, at).items()]
    ages = {label: at - value for (name, label), value in samples.items() if name == "last_success_timestamp_seconds"}
    yield "last", [f"{label} {_duration(age)} ago" for label, age in ages.items()]


def _jobs(samples: Samples) -> Iterator[tuple[str, str, float]]:
    """Queue, state, and how many jobs of the queue are in it."""
    for (name, label), count in samples.items():
        if name == "jobs":
            queue, _, state = label.partition(" ")
            yield queue, state, count


def _paused(samples: Samples, at: float) -> dict[str, float]:
    """The queues of jobs that are paused, and for how many seconds."""
    return {
        queue: at - value for (name, queue), value in samples.items() if name == "job_queue_paused_timestamp_seconds"
    }


def _refusals(samples: Samples) -> list[str]:
    """What requests were refused for, most often first."""
    counts = {code: value for (name, code), value in samples.items() if name == "refusals_total" and value}
    return [f"{value:,.0f} {code}" for code, value in sorted(counts.items(), key=lambda each: -each[1])[:REASONS_MAX]]


def _listed(name: str, items: Sequence[str]) -> Iterator[str]:
    """A row of items with commas between them, over as many lines as they take; none of it without any."""
    line = _row(name, "")
    for number, item in enumerate(items, 1):
        text = item if number == len(items) else f"{item},"
        if len(line) > NAME_CHARS and len(line) + len(text) + 1 > WIDTH:
            yield line
            line = _row("", "")
        line += text if len(line) == NAME_CHARS else f" {text}"
    if items:
        yield line


def _row(name: str, value: str) -> str:
    return f"{name:<{NAME_CHARS}}{value}"


def _wrapped(text: str, before: str = "") -> list[str]:
    lines = [before]
    for word in text.split():
        if len(lines[-1]) + len(word) >= WIDTH:
            lines.append(" " * len(before))
        lines[-1] += word if lines[-1].strip(" !") == "" else f" {word}"
    return lines


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1_000:
            return f"{count:.3g} {unit}"
        count /= 1_000
    return f"{count:.3g} TB"


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def checks_of(members: Mapping[str, Any]) -> tuple[Check, ...]:
    """The checks of an answer of `/readyz?verbose`; raises msgspec.ValidationError for what is none."""
    return msgspec.convert(members.get("checks"), tuple[Check, ...])
