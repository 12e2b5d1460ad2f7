"""What clients really put into a line comes out as a trajectory, mended where readers would stumble."""

import json
import math
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from central_command.corpus import open_corpus
from central_command.corpus.pseudonyms import Pseudonyms
from central_command.corpus.reading import Mended, UnreadableLine, read_line
from persistence.files.failures import NoDataDirectory
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.journals.erasure_register import ErasureRegister, ErasureSubject, digest_of, register_path
from tests.corpus_maker import put_sessions, put_texts, session, steps_of, take_back, take_texts_back, text

LINE = (
    b'{"record_id":"r","trajectory_id":"t","session_id":"s","contributor_id":"c","metadata":%s,"trajectory_log":[%s]}'
)
METADATA = b'{"provider":"codex","model_engine":"gpt-5.5"}'


def read(step: bytes, metadata: bytes = METADATA) -> "tuple[msgspec.Struct, Mended]":
    """The only step of a line, and what was mended."""
    found = read_line(LINE % (metadata, step), lambda _: "con_1")
    return found.trajectory.steps[0], found.mended


def test_numbers_that_no_64_bits_hold_become_texts_of_their_digits() -> None:
    """Also within arguments, and only those: a reader gets the others as they are."""
    step, mended = read(
        b'{"step":1,"type":"action","arguments":{"a":9223372036854775808,"b":-9223372036854775808,"c":[1e400,1e30],'
        b'"d":"[12345678901234567890,"}}'
    )
    assert step.arguments == {  # type: ignore[attr-defined]
        "a": "9223372036854775808",
        "b": -9223372036854775808,
        "c": ["1e400", 1e30],
        "d": "[12345678901234567890,",
    }
    assert mended == Mended(numbers=2)


def test_halves_of_surrogate_pairs_become_replacement_characters() -> None:
    step, mended = read(b'{"step":1,"type":"thought","content":"a\\ud83d \\ud83d\\ude00"}')
    assert step.content == "a\ufffd \U0001f600"  # type: ignore[attr-defined]
    assert mended == Mended(surrogates=1)


def test_halves_of_surrogate_pairs_are_mended_also_where_nothing_is_read() -> None:
    """The line is handed on as it was mended."""
    found = read_line(LINE % (b'{"unknown":"\\uD83D"}', b""), lambda _: "con_1")
    assert b'{"unknown":"\\ufffd"}' in found.line
    assert found.mended == Mended(surrogates=1)


JSON_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,5})?", fullmatch=True)


@given(JSON_NUMBERS, JSON_NUMBERS)
def test_whatever_number_stands_there_fits_64_bits_or_becomes_a_text(first: str, second: str) -> None:
    arguments = f'{{"a":{first},"b":["x{second}",{second}]}}'
    step, mended = read(b'{"step":1,"type":"action","arguments":%s}' % arguments.encode())
    wanted = {"a": kept_or_text(first), "b": [f"x{second}", kept_or_text(second)]}
    assert step.arguments == wanted  # type: ignore[attr-defined]
    assert mended.numbers == sum(isinstance(kept_or_text(each), str) for each in (first, second))


def kept_or_text(number: str) -> object:
    """A number as JSON has it, or its text, where it is an integer past 64 bits or infinite as a double."""
    value = json.loads(number)
    fits = -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)
    return value if fits else number


def test_members_of_other_types_than_expected_are_text_or_missing() -> None:
    """No line fails for what a client put where the contract has no rule."""
    step, _ = read(
        b'{"step":1,"type":"action","tool":{"n":1},"arguments":[1],"call_id":7,"is_error":"yes","usage":{"input_tokens":3}}',
        b'{"provider":"codex","model_engine":"gpt-5.5","agent_role":5,"domain_tags":null}',
    )
    assert (step.tool, step.arguments, step.call_id, step.is_error) == ('{"n":1}', {"value": [1]}, "7", None)  # type: ignore[attr-defined]
    assert step.usage.input_tokens == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", [b"{}", b'{"erased":{"at":""}}', b"[", b'"x"'])
def test_what_holds_no_record_is_unreadable(line: bytes) -> None:
    with pytest.raises(UnreadableLine):
        read_line(line, str)


def test_pseudonyms_are_the_key_s_and_say_nothing_of_the_id() -> None:
    one, other = Pseudonyms(b"1" * 32), Pseudonyms(b"2" * 32)
    assert one.of("AB") == one.of("ab") != other.of("ab")
    assert one.of("ab").startswith("con_")
    assert len(one.of("ab")) == 36
    assert repr(one) == "<Pseudonyms>"


def test_real_times_are_those_before_the_client_moved_them() -> None:
    line = LINE.replace(b'"metadata"', b'"time_shift_s":100.5,"metadata"')
    trajectory = read_line(
        line % (METADATA, b'{"step":1,"type":"thought","timestamp":1795169530250}'), lambda _: ""
    ).trajectory
    assert trajectory.time_of(trajectory.steps[0]) == "2026-11-20T10:10:29.750000Z"


def test_a_corpus_is_iterated_by_filters_without_anybody_s_id(tmp_path: Path) -> None:
    """What is taken back is gone, and so is what does not pass; again and again."""
    root = tmp_path / "data"
    trio.run(put_sessions, root, [session(number, contributor=number % 2) for number in range(6)])
    trio.run(take_back, root, 3)
    corpus = open_corpus(root, models=["CLAUDE-*"], steps_min=2, tools=["Bash"])
    found = list(corpus)
    assert [each.session_id for each in found] == [f"sess_{number}" for number in (0, 1, 2, 4, 5)]
    assert list(corpus) == found
    assert len({each.contributor for each in found}) == 2
    assert "0" * 31 not in str(list(corpus.examples()))
    assert [each.session_id for each in open_corpus(root, after="2026-11-03", before="2026-11-06")] == [
        "sess_2",
        "sess_4",
    ]
    assert [each.session_id for each in open_corpus(root, texts=["ALPHA4 "])] == ["sess_4"]
    assert list(open_corpus(root, feedback=["accepted"])) == []
    assert len(list(open_corpus(root, feedback=["none"], outcomes=["SUCCESS"]))) == 5


def test_of_whom_is_to_be_erased_nothing_is_handed_out_before_it_is_done(tmp_path: Path) -> None:
    """As in what was restored, where requests wait until a server starts."""
    root = tmp_path / "data"
    trio.run(put_sessions, root, [session(number, contributor=number) for number in range(4)])
    corpus = open_corpus(root)
    assert len(list(corpus)) == 4
    register = ErasureRegister(register_path(DataLayout(root)), OsFileSystem(), lambda: 1.0)
    register.ask(ErasureSubject.CONTRIBUTOR, digest_of(ErasureSubject.CONTRIBUTOR, f"{1:032x}"))
    register.ask(ErasureSubject.SESSION, digest_of(ErasureSubject.SESSION, "sess_2"))
    assert [each.session_id for each in corpus] == ["sess_0", "sess_3"]


def test_records_of_the_intake_are_typed_objects_beside_the_trajectories(tmp_path: Path) -> None:
    """Chosen by filters of their own; without what was taken back, and under pseudonyms."""
    root = tmp_path / "data"
    trio.run(put_sessions, root, [session(0)])
    texts = [text(number, "I said it" if number else "else", user=number % 2, n=10**20) for number in range(5)]
    trio.run(put_texts, root, texts)
    trio.run(take_texts_back, root, 3)
    corpus = open_corpus(root, tiers=["none"])
    found = list(corpus.records())
    assert [(each.session_id, each.content_type) for each in found] == [(f"app_{n}", "prompt") for n in (0, 1, 2, 4)]
    assert (found[0].content, found[0].metadata) == ("else", {"n": str(10**20)})
    assert len({each.contributor for each in found}) == 2
    assert [each.session_id for each in corpus.records(after="2026-11-21", before="2026-11-23")] == ["app_1", "app_2"]
    assert list(corpus.records(contributors=[found[1].contributor], texts=["SAID"])) == [found[1]]
    assert [each.session_id for each in corpus.records(domains=["general"])] == [each.session_id for each in found]
    with pytest.raises(TypeError, match="no filter 'tiers'"):
        corpus.records(tiers=["A"])


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoDataDirectory, match="holds no corpus"):
        open_corpus(tmp_path)
    assert not any(tmp_path.iterdir()), "nothing is made where no corpus is"
    with pytest.raises(ValueError, match="is no URL of a server"):
        open_corpus("ftp://example.org/x")
    with pytest.raises(
        NoDataDirectory, match="no folder localhost:9411; if that is a server, its URL begins with http"
    ):
        open_corpus("localhost:9411", token="x")
    with pytest.raises(NoDataDirectory, match=r"there is no folder .*none: name a server's data directory, or the URL"):
        open_corpus(tmp_path / "none")
    with pytest.raises(TypeError, match="NoneType is neither"):
        open_corpus(None)  # type: ignore[arg-type] # as a program may
    with pytest.raises(TypeError, match="no filter 'model'"):
        open_corpus(tmp_path, model="x")
    with pytest.raises(ValueError, match="steps_min is 'x'; it must be a whole number from 0 to"):
        open_corpus(tmp_path, steps_min="x")
    with pytest.raises(ValueError, match="not UTF-8"):
        open_corpus(tmp_path, texts=["\ud800"])


def test_what_is_made_anew_while_a_corpus_is_read_comes_once(tmp_path: Path) -> None:
    """As for feedback that comes late: its line is the last one then."""
    root = tmp_path / "data"
    trio.run(put_sessions, root, [session(number) for number in range(3)])
    reading = iter(open_corpus(root))
    found = [next(reading).session_id]
    accepted = [{"signal": "accepted", "timestamp": 1_795_169_600}]
    trio.run(put_sessions, root, [session(0, feedback=accepted)])
    assert found + [each.session_id for each in reading] == ["sess_0", "sess_1", "sess_2"]


def test_steps_of_the_maker_are_what_tests_think_they_are() -> None:
    assert [step["type"] for step in steps_of("x", 1)] == [
        "instruction",
        "thought",
        "action",
        "observation",
        "resolution",
    ]
