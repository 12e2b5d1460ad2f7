"""Chunks that are checked while they are read: never another outcome than reading and checking one after the other."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from actors.envelopes.chunk_reading import ChunkReader
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.schema import ChunkFacts, check
from actors.envelopes.settings import SchemaSettings
from tests.signing_client import SigningClient

NOW_S = 1_795_176_737.0
SETTINGS = SchemaSettings()
KNOWN = ChunkReader(SETTINGS, lambda: NOW_S)


def outcome(body: bytes, known: ChunkReader | None, schema: SchemaSettings = SETTINGS) -> Any:
    """What reading and checking make of a body: the members and facts, or the refusal."""
    read = (known and known(body)) or read_envelope(
        body, nesting_max=schema.nesting_max, members_max=schema.members_max
    )
    if isinstance(read, Refusal):
        return read
    return structs.replace(read, facts=None), check(read, schema, NOW_S)


def chunk(step: dict[str, Any] | None = None, **metadata: Any) -> bytes:
    client = SigningClient("sess_1", now_s=NOW_S)
    client.secret = b"k" * 32
    return client.chunk_of([client.step(), client.step("action", tool="bash", **(step or {}))], **metadata)


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_an_ordinary_chunk_is_checked_in_the_same_pass() -> None:
    """Its facts are those that the check finds, and the check takes them as they are."""
    body = chunk({"arguments": {"command": "ls", "deep": [1, {"a": None}]}})
    read = KNOWN(body)
    assert isinstance(read, Envelope)
    assert isinstance(read.facts, ChunkFacts)
    assert check(read, SETTINGS, NOW_S) is read.facts
    assert outcome(body, KNOWN) == outcome(body, None)


def test_what_our_own_readers_add_is_checked_in_the_same_pass() -> None:
    usage = {"input": 10, "output": 2, "cache_read": 4, "cache_write": None}
    step = {"call_id": "toolu_1", "intent": "look", "is_error": False, "usage": usage, "model": "m", "agent": "a"}
    told = {"scrubbed": True, "scrub_rules": 1, "time_shift_s": 0.5, "lineage": {"id": "0a"}, "continues_session": "s"}
    body = chunk(step, **told)
    assert KNOWN(body) is not None
    assert outcome(body, KNOWN) == outcome(body, None)
    assert KNOWN(chunk({"usage": {"input": [1]}})) is None
    assert KNOWN(chunk({}, lineage={"id": ["0a"]})) is None


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent.parent / "transcripts").glob("*.jsonl"))[:4], ids=str
)
def test_real_steps_give_the_same(path: Path) -> None:
    """Texts of real sessions, quotes and brackets and all."""
    texts = [line[:9_000] for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[:80]]
    client = SigningClient("sess_1", now_s=NOW_S)
    client.secret = b"k" * 32
    body = client.chunk_of([client.step(content=text, arguments={"text": text}) for text in texts])
    assert KNOWN(body) is not None
    assert outcome(body, KNOWN) == outcome(body, None)


@pytest.mark.parametrize("levels", [4, 5, 6, 60, 61, 62, 63, 200, 5_000])
def test_the_depth_of_arguments_is_that_of_the_envelope(levels: int) -> None:
    """61 levels below envelope, log and step are the 64 that are allowed; more than 5 go the ordinary way."""
    body = chunk({"arguments": "HERE"}).replace(b'"HERE"', _nested_text(levels))
    found = outcome(body, KNOWN)
    assert found == outcome(body, None)
    assert isinstance(found, Refusal) == (levels > 61)
    assert (KNOWN(body) is not None) == (levels <= 5)


def _nested_text(levels: int) -> bytes:
    return b'{"a":[' * (levels // 2) + b"[" * (levels % 2) + b"1" + b"]" * (levels % 2) + b"]}" * (levels // 2)


@pytest.mark.parametrize("nesting_max", [8, 9, 200])
def test_a_small_bound_holds_as_well(nesting_max: int) -> None:
    """The least that the settings allow is what the known members themselves need."""
    schema = structs.replace(SETTINGS, nesting_max=nesting_max)
    known = ChunkReader(schema, lambda: NOW_S)
    for levels in (0, 4, 5, 6, 7):
        body = chunk({"arguments": nested(levels)})
        assert outcome(body, known, schema) == outcome(body, None, schema)


@pytest.mark.parametrize("sequence", [0, 10, 11, 2**32 - 1, 2**32, 9_999_999_999, 10_000_000_000])
@pytest.mark.parametrize("sequence_max", [10, 10**11])
def test_a_sequence_has_the_bounds_of_the_settings_and_of_what_is_signed(sequence: int, sequence_max: int) -> None:
    schema = structs.replace(SETTINGS, sequence_max=sequence_max)
    known = ChunkReader(schema, lambda: NOW_S)
    body = chunk().replace(b'"sequence":0', b'"sequence":%d' % sequence)
    assert outcome(body, known, schema) == outcome(body, None, schema)
    assert (known(body) is not None) == (sequence <= min(sequence_max, 2**32 - 1))


FAULTS = (
    *(b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe9"),
    *(b"\\ud83d", b"\\ude80\\ud83d", b"\\u00e9", b'\\"', b"\\\\", b"\\x", b"\x00", b"\x1f"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize(
    "place", [b"sess_1", b"env_client_0", b"step 1", b"bash", b"gpt-5.5", b"codex", b"frontend-3", b"KEY", b"VALUE"]
)
def test_bytes_that_are_no_text_are_found_everywhere(fault: bytes, place: bytes) -> None:
    """In any known member, and in names and values of arguments."""
    body = chunk({"arguments": {"KEY": ["VALUE"]}})
    assert place in body
    changed = body.replace(place, place + fault, 1)
    assert outcome(changed, KNOWN) == outcome(changed, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"token_count":7', b'"token_count":7.0'),
        (b'"token_count":7', b'"token_count":1e400'),
        (b'"token_count":7', b'"token_count":NaN'),
        (b'"KEY":["VALUE"]', b'"KEY":[1e400,-0,123456789012345678901234567890,1e-400]'),
        (b'"KEY":["VALUE"]', b'"KEY":[NaN]'),
        (b'"KEY":["VALUE"]', b'"KEY":[01]'),
        (b'"KEY":["VALUE"]', b'"KEY":1,"KEY":2'),
        (b'"tool":"bash"', b'"tool":{"a":[]}'),
        (b'"tool":"bash"', b'"tool":"bash","received":1'),
        (b'"tool":"bash"', b'"tool":"bash","tool":"other"'),
        (b'"session_id"', b'"received":1,"session_id"'),
        (b'"session_id"', b'"unheard_of":[[[1]]],"session_id"'),
        (b'"session_id"', b'"session_id":"other","session_id"'),
        (b'"session_id"', b'"type":"CHUNK","session_id"'),
        (b'"session_id"', b'"type":"SESSION_CLOSE","session_id"'),
        (b'"session_id"', b'"type":null,"session_id"'),
        (b'"session_id"', b'"\\u0073ession_id"'),
        (b'"session_id":"sess_1"', b'"session_id":""'),
        (b'"session_id":"sess_1"', b'"session_id":7'),
        (b'"session_id":"sess_1",', b""),
        (b'"provider":"codex"', b'"provider":"unheard-of"'),
        (b'"timestamp":1795176736', b'"timestamp":1'),
        (b"{", b"\xef\xbb\xbf{"),
        (b"{", b" \n{"),
        (b'"step":2', b'"step":2,'),
    ],
    ids=repr,
)
def test_whatever_is_changed_gives_the_same(old: bytes, new: bytes) -> None:
    """Accepted or refused, and for the same reason."""
    body = chunk({"arguments": {"KEY": ["VALUE"]}})
    assert old in body
    changed = body.replace(old, new, 1)
    assert changed != body
    assert outcome(changed, KNOWN) == outcome(changed, None)


def test_a_chunk_from_the_past_is_refused_by_the_check() -> None:
    """The age of its steps is judged with the time at which it was read."""
    later = ChunkReader(SETTINGS, lambda: NOW_S + 10 * SETTINGS.timestamp_age_s_max)
    assert later(chunk()) is None
    found = outcome(chunk(), KNOWN)
    assert isinstance(found[1], ChunkFacts)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(json_values, st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
def test_any_arguments_and_any_damage_give_the_same(arguments: Any, place: int, damage: bytes) -> None:
    """Whole bodies, and bodies with a few bytes overwritten anywhere."""
    body = chunk({"arguments": arguments})
    assert outcome(body, KNOWN) == outcome(body, None)
    at = place % len(body)
    damaged = body[:at] + damage + body[at + len(damage) :]
    assert outcome(damaged, KNOWN) == outcome(damaged, None)


def test_nothing_unknown_is_taken_for_known() -> None:
    """A member without a rule could hold anything: such a chunk is read and checked one after the other."""
    assert KNOWN(chunk({"unheard_of": 1})) is None
    assert KNOWN(chunk(unheard_of=1)) is None
    assert isinstance(outcome(chunk({"unheard_of": 1}), KNOWN)[1], ChunkFacts)
    assert KNOWN(b"") is None
    assert KNOWN(json.dumps([1]).encode()) is None
    refused = outcome(chunk(provider="unheard-of"), KNOWN)[1]
    assert isinstance(refused, Refusal)
    assert refused.code is RefusalCode.SCHEMA
