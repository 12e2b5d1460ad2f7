"""The corpus can fail: a wrong expectation, a wrong file and anything written are found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.bad_input.corpus import Case, Expected, Repeated, SignedEnvelope, all_cases, load, text_bytes
from tests.bad_input.judgement import complaints_of, complaints_of_writing
from tests.bad_input.target import Target

EXAMPLES = (
    *("json/number-leading-zero", "keys/y-wrong", "openings/without-model", "closes/never-opened"),
    *("statistics/days-zero", "methods/trace-health", "http/two-hosts", "http/good-then-bad"),
    *("signatures/hmac-upper-case", "signatures/fourth-of-three"),
)
GOOD = Case(
    what="A good chunk, said to be bad.",
    expect=Expected(status=200, code="invalid_hmac"),
    envelope=SignedEnvelope(),
)
KEPT = Case(
    what="An authentic chunk that does not fit the schema.",
    expect=Expected(status=200, code="schema", is_kept=True),
    envelope=SignedEnvelope(set={"metadata.team_size": "0"}),
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server with some cases of the corpus, and three that write."""
    cases = {name: all_cases()[name] for name in EXAMPLES}
    cases |= {"own/good": GOOD, "own/kept": KEPT, "own/kept-twice": KEPT}
    target = Target(tmp_path_factory.mktemp("runner") / "data", cases)
    with target.server:
        yield target


def complaints(target: Target, name: str, case: Case) -> list[str]:
    """What is said of a case with another expectation."""
    return complaints_of(case, target.exchange(name, target.bytes_of(name)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_wrong_expectation_is_found(name: str, target: Target) -> None:
    """Another status, code, sentence, header or fate of the connection."""
    case = target.cases[name]
    assert complaints(target, name, case) == []
    assert case.expect.status is not None
    wrong: list[dict[str, Any]] = [
        {"status": case.expect.status + 1},
        {"code": "another_code"},
        {"sentence": "no such words"},
        {"headers": {"Allow": "BREW"}},
    ]
    if case.expect.connection == "kept":
        wrong.append({"earlier": (*case.expect.earlier, 200), "connection": "closed", "status": 418})
    for changes in wrong:
        assert complaints(target, name, replace(case, expect=replace(case.expect, **changes))), changes


def test_a_connection_that_is_closed_is_not_taken_for_kept(target: Target) -> None:
    """Whether another request is served is asked, not assumed."""
    case = target.cases["http/two-hosts"]
    kept = replace(case, expect=replace(case.expect, connection="kept"))
    assert "the connection was closed, not kept" in complaints(target, "http/two-hosts", kept)


def test_what_is_written_is_found(target: Target) -> None:
    """In the journals, and in the databases once the server has ended."""
    before = target.journals()
    sent = target.bytes_of("own/good")
    found = complaints_of(GOOD, target.exchange("own/good", sent))
    assert any("accepted" in complaint or "the code is None" in complaint for complaint in found)
    after = target.journals()
    assert complaints_of_writing(GOOD, sent.body, before, after) == ["envelopes has grown"]

    sent = target.bytes_of("own/kept")
    assert complaints_of(KEPT, target.exchange("own/kept", sent)) == []
    letters = target.journals()
    assert complaints_of_writing(KEPT, sent.body, after, letters) == []
    assert complaints_of_writing(GOOD, sent.body, after, letters) == ["refused has grown"]
    assert complaints_of_writing(KEPT, b"something else", after, letters) != []
    assert complaints_of_writing(KEPT, sent.body, letters, letters) != []

    second = target.bytes_of("own/kept-twice")
    target.exchange("own/kept-twice", second)
    assert complaints_of_writing(KEPT, second.body, after, target.journals()) != []

    assert target.server.terminate() == 0
    changed = target.rows_changed()
    target.server.start()
    assert any("processed_envelopes: added" in row for row in changed)
    assert not any("refused_envelopes" in row for row in changed)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('what = "a"\nraw = "x"\n[expect]\nstatus = 400\nconection = "closed"', "conection"),
        ('what = "a"\n[expect]\nstatus = 400', "exactly one"),
        ('what = "a"\nraw = "x"\npath = "/"\n[expect]\nstatus = 400', "exactly one"),
        ('what = "a"\nraw = "x"\n[expect]\nconnection = "kept"', "can only be closed"),
        ('what = "a"\nraw = "x"\n[expect]\nstatus = 500', "specified"),
        ('what = "a"\nraw = "x"\n[expect]\nstatus = 400\nspecified = "no"', "specified"),
        ('what = "a"\nraw = "x"\n[expect]\nstatus = 200', "by its code"),
        ('what = "a"\nraw = "x"\n[expect]\nstatus = 400\nis_kept = true', "kept"),
        ('what = "a"\nraw = "x"\nserver = "impatient"\n[expect]\nstatus = 400', "impatient"),
        ("what = ", "case.toml"),
    ],
)
def test_a_file_that_asks_nothing_is_an_error(text: str, complaint: str, tmp_path: Path) -> None:
    """Misspelt members and contradictions are named, with the file."""
    path = tmp_path / "case.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint) as caught:
        load(path)
    assert "case.toml" in str(caught.value)


def test_texts_hold_any_bytes() -> None:
    """Escapes of bytes, repetition and UTF-8; a backslash before anything else is itself."""
    assert text_bytes("a\\x00\\xff\\né") == b"a\x00\xff\\n" + "é".encode()
    assert text_bytes(["{", Repeated(repeat="\\x5b", times=3)]) == b"{[[["
