"""`make audit`: what pip-audit answers, and what is made of it."""

import json
import runpy
from collections.abc import Callable
from typing import Any

import pytest

from tests.server_process import REPOSITORY

CLEAN = {"name": "trio", "version": "0.31.0", "vulns": []}
AFFECTED = {"name": "h11", "version": "0.14.0", "vulns": [{"id": "GHSA-vqfr-h8mv-ghfj", "fix_versions": ["0.16.0"]}]}
SKIPPED = {"name": "quart", "skip_reason": "Dependency not found"}


@pytest.fixture(scope="module")
def judged() -> Callable[[str, str, str], tuple[int, str]]:
    """The judgement of the script."""
    loaded: Any = runpy.run_path(str(REPOSITORY / ".ci" / "audit"))["judged"]
    return loaded  # type: ignore[no-any-return]


def found(*dependencies: object) -> str:
    """What pip-audit writes to stdout."""
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_known_vulnerability_fails_and_is_named(judged: Callable[[str, str, str], tuple[int, str]]) -> None:
    """Also when other packages could not be looked up."""
    status, sentence = judged("a.lock", found(CLEAN, AFFECTED, SKIPPED), "")
    assert status == 1
    assert "h11 0.14.0: GHSA-vqfr-h8mv-ghfj" in sentence


@pytest.mark.parametrize(
    ("out", "err"),
    [
        (found(SKIPPED), ""),
        ("", "Traceback\nrequests.exceptions.ProxyError: Max retries exceeded"),
        ("", "ERROR:pip_audit._cli:pip_audit._service.interface.ConnectionError: Could not connect"),
    ],
)
def test_without_an_answer_it_warns(judged: Callable[[str, str, str], tuple[int, str]], out: str, err: str) -> None:
    """Nothing could be asked: one sentence, which does not claim that all is well."""
    status, sentence = judged("a.lock", out, err)
    assert status == 0
    assert sentence.startswith("warning: a.lock was not audited: ")
    assert "\n" not in sentence


def test_what_could_not_be_looked_up_is_named(judged: Callable[[str, str, str], tuple[int, str]]) -> None:
    """A pass of the others is not a pass of all."""
    status, sentence = judged("a.lock", found(CLEAN, SKIPPED), "")
    assert status == 0
    assert sentence.startswith("warning: ")
    assert sentence.endswith("could not be audited: quart.")


def test_a_lock_file_that_cannot_be_read_fails(judged: Callable[[str, str, str], tuple[int, str]]) -> None:
    """Being offline excuses nothing else."""
    assert judged("a.lock", "", "ERROR: requirement nonsense== is invalid")[0] == 2


def test_a_clean_lock_file_passes(judged: Callable[[str, str, str], tuple[int, str]]) -> None:
    """Said with the number of packages looked up."""
    assert judged("a.lock", found(CLEAN), "") == (0, "a.lock: no known vulnerabilities in 1 packages.")
