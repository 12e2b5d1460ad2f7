"""The strict reader and the canonical writer keep their invariants, whatever they are given.

The examples are the same ones in every run, so that nothing fails by chance; `atheris_target.py` looks further.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.actors.envelopes.canonical_documents import Documents
from tests.fuzz.invariants import check_all, is_one_sentence
from tests.fuzz.seeds import SMALL, TOKENS, client_bodies

always_the_same = settings(
    derandomize=True, max_examples=1_500, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
BODIES = (*SMALL, *(body for body in client_bodies() if len(body) < 20_000))
FOUND = sorted((Path(__file__).parent / "found").glob("*.bin"))


@st.composite
def damaged_bodies(draw: st.DrawFn) -> bytes:
    """A body with up to four pieces taken out, put in, doubled or overwritten."""
    body = draw(st.sampled_from(BODIES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.sampled_from((0, 0, 0, 1, 1, 2, 5, 40))))
        piece = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3), st.just(body[start:end] * 2)))
        body = body[:start] + piece + body[end:]
    return body


@pytest.mark.parametrize("body", SMALL)
def test_the_bodies_to_start_from(body: bytes) -> None:
    """Good ones, and those with a member twice."""
    check_all(body)


@always_the_same
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Noise."""
    check_all(data)


@always_the_same
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join))
def test_any_tokens(data: bytes) -> None:
    """Almost JSON."""
    check_all(data)


@always_the_same
@given(damaged_bodies())
def test_damaged_bodies(data: bytes) -> None:
    """Bodies of clients with a few faults."""
    check_all(data)


@pytest.mark.parametrize("seed", range(4))
def test_good_documents_in_every_spelling(seed: int) -> None:
    """Well-formed JSON, the envelope's own members among it."""
    documents = Documents(seed)
    for _ in range(250):
        check_all(documents.any_text())
        check_all(documents.body())


def test_what_was_found_before() -> None:
    """Each input that once broke an invariant stays, as a file in `found`; there is none yet."""
    for path in FOUND:
        try:
            check_all(path.read_bytes())
        except BaseException as error:
            error.add_note(f"the input is {path.name}")
            raise


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("The body is not JSON.", True),
        ('type is "a. B"; it must be absent.', True),
        ("The body is not JSON", False),
        ("It is not. It is.", False),
        ("It is\nnot.", False),
        ("", False),
    ],
)
def test_what_one_sentence_is(text: str, *, is_one: bool) -> None:
    """A full stop ends it, and stands nowhere else but in what is quoted."""
    assert is_one_sentence(text) is is_one
