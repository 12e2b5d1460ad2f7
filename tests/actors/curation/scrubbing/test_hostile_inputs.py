"""Inputs on which other scrubbers take quadratic time, and texts that cannot be scrubbed."""

import gc
import time
from collections.abc import Callable

import pytest

from actors.curation.scrubbing import scrubber as module
from actors.curation.scrubbing.scrubber import PIIScrubber

CHARS = 20_000
ATTEMPTS = 5

CASES: dict[str, Callable[[int], str]] = {
    "pem_open": lambda n: "-----BEGIN PRIVATE KEY-----\n" * (n // 28),
    "pem_escaped_cut": lambda n: "-----BEGIN RSA PRIVATE KEY-----" + "\\nMIIEowIBAAKCAQEA" * (n // 18),
    "pem_label": lambda n: "-----BEGIN " + "A " * (n // 2),
    "eyj": lambda n: "eyJ" * (n // 3),
    "eyj_dots": lambda n: "eyJaaaaaaaaaaa." * (n // 15),
    "at": lambda n: "a@" * (n // 2),
    "at_dots": lambda n: "a@" + "a." * (n // 2),
    "local": lambda n: "a" * n + "@",
    "dashes_digits": lambda n: "1-" * (n // 2),
    "digits": lambda n: "4" * n,
    "phone_sep": lambda n: "555" + "-" * n,
    "colons": lambda n: "a:" * (n // 2),
    "dcolons": lambda n: "::" * (n // 2),
    "dots": lambda n: "1." * (n // 2),
    "users": lambda n: "/Users/" * (n // 7),
    "users_quote": lambda n: '"/Users/a b' * (n // 11),
    "home_sp": lambda n: "/home/a" + " " * n,
    "hex": lambda n: "a" * n,
    "hexg": lambda n: ("a" * 39 + "g") * (n // 40),
    "b64": lambda n: "Ab1+" * (n // 4),
    "url_q": lambda n: "http://" + "?token" * (n // 6),
    "url_at": lambda n: "http://" + "a:" * (n // 2) + "@",
    "scheme": lambda n: "a://" * (n // 4),
    "bearer": lambda n: "Bearer " * (n // 7),
    "bearer_sp": lambda n: "Bearer" + " " * n,
    "assign": lambda n: "password=" * (n // 9),
    "assign_sp": lambda n: "secret" + " " * n + "=",
    "keyword_run": lambda n: "token" * (n // 5),
    "curl": lambda n: "curl -H " * (n // 8),
    "back": lambda n: "\\" * n,
    "nl": lambda n: "\n" * n,
    "placeholders": lambda n: "[EMAIL]" * (n // 7),
    "brackets": lambda n: "[" * n,
    "sk": lambda n: "sk_" * (n // 3),
    "plus": lambda n: "+1" * (n // 2),
    "pct": lambda n: "%40" * (n // 3),
}


def seconds(scrubber: PIIScrubber, text: str) -> float:
    """The processor time of one scrubbing."""
    start = time.process_time()
    scrubber.scrub(text)
    return time.process_time() - start


def ratio(build: Callable[[int], str]) -> float:
    """How many times longer twice the text takes: the least times of some attempts, taken in turns."""
    scrubber = PIIScrubber()
    once, twice = build(CHARS), build(2 * CHARS)
    gc.disable()
    try:
        attempts = [(seconds(scrubber, once), seconds(scrubber, twice)) for _ in range(ATTEMPTS)]
    finally:
        gc.enable()
    assert not scrubber.counts["[WITHHELD]"]
    return min(each[1] for each in attempts) / min(each[0] for each in attempts)


@pytest.mark.parametrize("case", CASES)
def test_twice_the_text_takes_less_than_two_and_a_half_times_as_long(case: str) -> None:
    """In one of three measurements: what else the machine does can spoil one, and quadratic time spoils all."""
    assert any(ratio(CASES[case]) < 2.5 for _ in range(3))


@pytest.mark.parametrize("case", CASES)
def test_hostile_texts_come_to_rest(case: str) -> None:
    for scrubber in (PIIScrubber(), PIIScrubber.for_trajectories()):
        once = scrubber.scrub(CASES[case](3_000))
        assert scrubber.scrub(once) == once
        assert not scrubber.counts["[WITHHELD]"]


def test_a_text_that_is_too_long_is_withheld_and_counted() -> None:
    scrubber = PIIScrubber(chars_max=100)
    assert scrubber.scrub("1234567. " * 20) == "[WITHHELD]"
    assert scrubber.counts == {"[WITHHELD]": 1}


def test_a_rule_that_fails_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(text: object) -> None:
        raise RuntimeError("a rule's mistake")

    monkeypatch.setattr(module, "RULES", ((failing, frozenset({"at"})),))
    scrubber = PIIScrubber()
    assert scrubber.scrub("ana@foldline.io, 203.0.113.9") == "[WITHHELD]"
    assert scrubber.counts == {"[WITHHELD]": 1}


@pytest.mark.parametrize(
    "text", ["\ud800 a@foldline.io", "\x00" * 50 + "@", "İ" * 40 + " password=M41lp01Dx2hjfF1K", "\udc80"]
)
def test_no_text_raises(text: str) -> None:
    scrubber = PIIScrubber()
    scrubbed = scrubber.scrub(text)
    assert "foldline" not in scrubbed
    assert "M41lp" not in scrubbed
    assert not scrubber.counts["[WITHHELD]"]
