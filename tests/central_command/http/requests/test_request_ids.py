"""The id of a request: the client's own if it can do no harm, else one that tells nothing."""

import os
import re
from itertools import pairwise
from typing import Any, cast

import pytest

from central_command.http.requests.request_ids import RequestIds

DRAWN = re.compile(rb"\A[0-9a-f]{24}\Z")


def of(*values: bytes) -> bytes:
    scope = {"headers": [(b"host", b"x"), *((b"x-request-id", value) for value in values)]}
    return RequestIds(bytes).of(cast("Any", scope))


@pytest.mark.parametrize(
    "own", [b"a", b"0b54a8a2-6a8b-4a5e-9f0a-6f9d7a3f2e11", b"Root=1-67891233-abcdef012345678912345678", b"x" * 128]
)
def test_a_sane_id_is_kept(own: bytes) -> None:
    """Whatever form it has: UUID, ULID, that of a cloud's proxy."""
    assert of(own) == own


@pytest.mark.parametrize(
    "own", [b"", b"x" * 129, b"a b", b"-a", b"a\x1b[31m", b'a"', b"<a>", b"a\xe9", b"a;b", b"a\n", b"\na", b"a\\b"]
)
def test_what_could_do_harm_is_not(own: bytes) -> None:
    """It is shown in logs, terminals and pages."""
    assert DRAWN.match(of(own))


def test_two_are_none() -> None:
    """Nobody knows which is meant."""
    assert DRAWN.match(of(b"a", b"b"))


def test_drawn_ids_differ_and_do_not_count() -> None:
    """Neither within a process nor between two, however many are drawn at once."""
    one, other = RequestIds(os.urandom), RequestIds(os.urandom)
    found = [ids.new() for ids in (one, other) for _ in range(1_000)]
    assert len(set(found)) == 2_000
    assert all(DRAWN.match(each) for each in found)
    steps = {int(second, 16) - int(first, 16) for first, second in pairwise(found)}
    assert len(steps) == len(found) - 1
