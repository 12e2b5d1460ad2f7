"""Failures that are one stand in one group, others apart, and each group says what to do and what came before."""

import time
from typing import Any

import pytest

from actors.observer.causes import CAUSES, known_cause
from actors.observer.failures import Change, FailureGroups, failure_of
from actors.observer.messages import normalised
from actors.observer.operation import Bounds, OperationReader
from actors.observer.settings import ObserverSettings
from tests.actors.observer.failing import KINDS, replay

READER = OperationReader(Bounds(2_000, 8_192))
AT = "2026-11-30T12:00:00.000000Z"


def groups(**settings: Any) -> FailureGroups:
    return FailureGroups(ObserverSettings(**settings))


def add(grouped: FailureGroups, endpoint: str, error: str, at: str = AT) -> None:
    operation = READER.completed({"endpoint": endpoint, "error": error, "success": False}, at)
    failure = failure_of(at, operation)
    assert failure is not None
    grouped.add(failure)


def test_five_thousand_failures_of_ten_kinds_in_a_thousand_wordings_are_ten_groups() -> None:
    grouped = groups()
    counts = [0] * len(KINDS)
    wordings = set()
    for kind, members in replay(5_000):
        counts[kind] += 1
        wordings.add(members["error"])
        add(grouped, members["endpoint"], members["error"])
    assert len(wordings) > 980
    reports = grouped.reports()
    assert len(reports) == 10, [(each.endpoint, each.message) for each in reports]
    assert sorted(each.count for each in reports) == sorted(counts)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("timed out after 3000 ms", "timed out after <n> ms"),
        ("row 12,345.67 of 9", "row <n> of <n>"),
        ("user 3f2504e0-4f89-11d3-9a0c-0305e82c3301 is gone", "user <id> is gone"),
        ("digest 0xDEADBEEF01 differs", "digest <hex> differs"),
        ("worker w-1042 left", "worker <id> left"),
        ("no column 'first name' in \"t\"", "no column <str> in <str>"),
        ("can't open /var/lib/x/y.db", "can't open <path>"),
        (r"can't open C:\data\x.db", "can't open <path>"),
        ("at 2026-11-29T06:25:05.123Z and 06:25", "at <time> and <time>"),
        ("10.1.2.3:5432 and [fe80::1:2] and db.internal:5432 refused", "<addr> and <addr> and <addr> refused"),
        ("GET https://x.example/a?b=1 failed", "get <url> failed"),
        ("HTTP 503 from HTTP/1.1 404", "http 503 from http 404"),
        ("", ""),
    ],
)
def test_what_differs_each_time_is_taken_out_of_a_message(message: str, expected: str) -> None:
    assert normalised(message) == expected


def test_statuses_of_http_and_endpoints_keep_failures_apart() -> None:
    grouped = groups()
    for endpoint, error in (
        ("a", "HTTP 503 from upstream"),
        ("a", "HTTP 404 from upstream"),
        ("b", "HTTP 503 from upstream"),
    ):
        add(grouped, endpoint, error)
        add(grouped, endpoint, error)
    assert [(each.endpoint, each.count) for each in grouped.reports()] == [("b", 2), ("a", 2), ("a", 2)]


def test_near_wordings_are_joined_by_their_embeddings_and_far_ones_are_not() -> None:
    grouped = groups()
    grouped.learn(
        {
            "the parcel went astray": (1.0, 0.0),
            "shipment lost in transit": (0.9, 0.4358898943540674),
            "customer hung up": (0.0, 1.0),
        }
    )
    for error in ("the parcel went astray", "shipment lost in transit", "customer hung up"):
        add(grouped, "ship", error)
    assert sorted(each.count for each in grouped.reports()) == [1, 2]


def test_a_group_says_what_changed_before_it_began_and_nothing_older() -> None:
    grouped = groups()
    grouped.note(Change("2026-11-30T11:00:00.000000Z", "too long ago"))
    grouped.note(Change("2026-11-30T11:50:00.000000Z", "started, version 2"))
    add(grouped, "db", "disk is full", "2026-11-30T11:55:00.000000Z")
    add(grouped, "api", "no answer", "2026-11-30T12:00:00.000000Z")
    api, db = grouped.reports()
    assert [each.what for each in db.before] == ["started, version 2"]
    assert [each.what for each in api.before] == ["started, version 2", "db began to fail: disk is full"]


def test_days_that_the_journal_forgot_are_counted_no_more() -> None:
    grouped = groups()
    add(grouped, "a", "one", "2026-11-28T12:00:00.000000Z")
    add(grouped, "a", "one", "2026-11-29T12:00:00.000000Z")
    add(grouped, "b", "two", "2026-11-28T12:00:00.000000Z")
    grouped.forget("2026-11-28")
    [left] = grouped.reports()
    assert (left.endpoint, left.count, left.first) == ("a", 1, "2026-11-29T12:00:00.000000Z")
    add(grouped, "b", "two", "2026-11-30T12:00:00.000000Z")
    assert len(grouped.reports()) == 2


def test_groups_and_wordings_are_bounded() -> None:
    grouped = groups(groups_max=3, wordings_max=5)
    for number in range(20):
        add(grouped, f"endpoint-{number}", "failed")
    assert [each.endpoint for each in grouped.reports()] == ["endpoint-19", "endpoint-18", "endpoint-17"]


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("Error code: 429 - too many requests", "rate limit"),
        ("You exceeded your current quota: insufficient_quota", "out of credit"),
        ("maximum context length is 8192 tokens", "context too long"),
        ("overloaded_error", "model overloaded"),
        ("Expecting value: line 1 column 1 (char 0)", "answer is not as asked"),
        ("401 invalid api key", "not authenticated"),
        ("token has expired", "expired credentials"),
        ("EACCES: permission denied", "not allowed"),
        ("certificate verify failed: self-signed", "certificate"),
        ("getaddrinfo ENOTFOUND api.x", "name not resolved"),
        ("connect ECONNREFUSED", "connection refused"),
        ("ECONNRESET", "connection lost"),
        ("database is locked", "database locked"),
        ("deadlock detected", "deadlock"),
        ("FATAL: too many clients already", "too many connections"),
        ("The read operation timed out", "time-out"),
        ("no such table: jobs", "schema does not fit"),
        ("UNIQUE constraint failed: t.id", "already there"),
        ("OSError: [Errno 28] No space left on device", "disk full"),
        ("Read-only file system", "disk failing"),
        ("CUDA out of memory", "out of memory"),
        ("EMFILE: too many open files", "too many open files"),
        ("ENOENT: no such file or directory", "file is missing"),
        ("bash: jq: command not found", "program is missing"),
        ("command exited with 1", "tool failed"),
        ("502 Bad Gateway", "gateway failed"),
        ("HTTP 404 Not Found", "not found"),
        ("422 validation failed", "invalid input"),
        ("no worker matched", None),
    ],
)
def test_known_causes_are_known(message: str, cause: str | None) -> None:
    found = known_cause(message)
    assert (None if found is None else found.name) == cause


def test_there_are_enough_causes_and_each_has_a_name_of_its_own() -> None:
    assert len({each.name for each in CAUSES}) == len(CAUSES) >= 20


def test_hostile_messages_are_read_in_little_time() -> None:
    began_at = time.process_time()
    for piece in ("a", "1", ":", "/", "'", '"', "a.", "1.", "-", "f:", "@", "a@", "x://", "<n>", " "):
        add(groups(), "e", piece * 2_000)
    assert time.process_time() - began_at < 2
