"""A record of the intake is read strictly: what is wrong with one is said in one sentence."""

import json
from typing import Any

import pytest

from actors.intake.reading import RecordRefusal, RefusedRecord, SubmittedRecord, read_record
from tests.submitted_texts import USER, record

BYTES_MAX = 200_000
USER_SENTENCE = "user_id must be 1 to 128 letters, digits and . _ ~ - and begin with a letter or digit."
SESSION_SENTENCE = "session_id must be a text of 1 to 256 characters."
TYPES_SENTENCE = "content_type must be one of prompt, completion, conversation, workflow."
NESTED = b'{"metadata":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001


def read(line: bytes) -> SubmittedRecord | RefusedRecord:
    return read_record(line, bytes_max=BYTES_MAX)


@pytest.mark.parametrize("content_type", ["prompt", "completion", "conversation", "workflow"])
def test_the_contract_s_four_kinds_are_taken(content_type: str) -> None:
    found = read(json.dumps(record("hé", content_type=content_type)).encode())
    assert isinstance(found, SubmittedRecord)
    assert (found.user_id, found.session_id, found.content_type) == (USER, "sess_001", content_type)
    assert (json.loads(found.content), found.metadata) == ("hé", b"{}")
    assert "hé" not in repr(found)


@pytest.mark.parametrize(
    ("metadata", "stored"),
    [
        (b"null", b"{}"),
        (b"{}", b"{}"),
        (b'{"n":1.50,"big":123456789012345678}', b'{"n":1.50,"big":123456789012345678}'),
        (b'{"a":\r1}', b'{"a":1}'),
        (b'{"text":"a\\nb"}', b'{"text":"a\\nb"}'),
    ],
)
def test_metadata_keep_their_digits_and_no_line_end_in_them(metadata: bytes, stored: bytes) -> None:
    head = json.dumps(record()).encode().removesuffix(b"}")
    found = read(head + b',"metadata":' + metadata + b"}")
    assert isinstance(found, SubmittedRecord)
    assert found.metadata == stored


def test_a_lone_surrogate_is_replaced_and_the_record_taken() -> None:
    found = read(json.dumps(record("a\ud83d")).encode())
    assert isinstance(found, SubmittedRecord)
    assert json.loads(found.content) == "a\ufffd"


def without(name: str) -> dict[str, Any]:
    return record(**{name: None})


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (b"", "invalid_json", "The record is not valid JSON."),
        (b"{", "invalid_json", "The record is not valid JSON."),
        (b"hello", "invalid_json", "The record is not valid JSON."),
        (b'{"user_id":"\xff"}', "missing_member", "session_id is missing"),
        (b'{"user_id":NaN}', "invalid_json", "The record is not valid JSON."),
        (b'{"a":1}{"b":2}', "invalid_json", "The record is not valid JSON."),
        (b"\xef\xbb\xbf{}", "invalid_json", "The record is not valid JSON."),
        (NESTED, "invalid_json", "The record is nested too deeply."),
        (b"[]", "not_an_object", "A record must be a JSON object."),
        (b"null", "not_an_object", "A record must be a JSON object."),
        (b'"text"', "not_an_object", "A record must be a JSON object."),
        (b"1e999", "not_an_object", "A record must be a JSON object."),
        (b"{}", "missing_member", "user_id is missing: a record needs user_id, session_id, content, content_type."),
        (without("user_id"), "missing_member", "user_id is missing"),
        (without("session_id"), "missing_member", "session_id is missing"),
        (without("content"), "missing_member", "content is missing"),
        (without("content_type"), "missing_member", "content_type is missing"),
        (record(domain="code"), "unknown_member", "There is no member 'domain' in a record."),
        (record(**{"x\x1b[31m": 1}), "unknown_member", "There is no member 'x\\x1b[31m' in a record."),
        (record(**{"n" * 90: 1}), "unknown_member", f"There is no member '{'n' * 40}...' in a record."),
        (record(user_id=""), "invalid_member", USER_SENTENCE),
        (record(user_id=7), "invalid_member", USER_SENTENCE),
        (record(user_id=[USER]), "invalid_member", USER_SENTENCE),
        (record(user_id="a" * 129), "invalid_member", USER_SENTENCE),
        (record(user_id=".."), "invalid_member", USER_SENTENCE),
        (record(user_id="a/../b"), "invalid_member", USER_SENTENCE),
        (record(user_id="jane.doe@example.com"), "invalid_member", USER_SENTENCE),
        (record(user_id="a\n"), "invalid_member", USER_SENTENCE),
        (record(user_id="é"), "invalid_member", USER_SENTENCE),
        (record(session_id=""), "invalid_member", SESSION_SENTENCE),
        (record(session_id="s" * 257), "invalid_member", SESSION_SENTENCE),
        (record(session_id=False), "invalid_member", SESSION_SENTENCE),
        (record(content_type="chat"), "invalid_member", TYPES_SENTENCE),
        (record(content_type="Prompt"), "invalid_member", TYPES_SENTENCE),
        (record(content_type={"a": 1}), "invalid_member", TYPES_SENTENCE),
        (record(content=7), "invalid_member", "content must be a text."),
        (record(content=["a"]), "invalid_member", "content must be a text."),
        (record(content={"role": "user"}), "invalid_member", "content must be a text."),
        (record(metadata=[]), "invalid_member", "metadata must be an object of valid JSON."),
        (record(metadata="{}"), "invalid_member", "metadata must be an object of valid JSON."),
        (record(metadata={"a": "b" * 65_536}), "invalid_member", "metadata may have 65,536 bytes."),
        (record("a" * BYTES_MAX), "record_too_large", "A record may have 200,000 bytes."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_record_is_refused_with_one_sentence(line: Any, code: str, sentence: str) -> None:
    found = read(line if isinstance(line, bytes) else json.dumps(line).encode())
    assert isinstance(found, RefusedRecord)
    assert found.code == RecordRefusal(code)
    assert found.reason.startswith(sentence)


@pytest.mark.parametrize("name", ["user_id", "session_id", "content", "content_type"])
@pytest.mark.parametrize("value", [b'"\xff"', b'"\xed\xa0\x80"', b"null", b"1e999"])
def test_a_member_that_is_no_text_of_utf_8_is_refused(name: str, value: bytes) -> None:
    line = json.dumps(record(**{name: "HERE"})).encode().replace(b'"HERE"', value)
    found = read(line)
    assert isinstance(found, RefusedRecord)
    assert found.code in {RecordRefusal.INVALID_MEMBER, RecordRefusal.INVALID_JSON}


@pytest.mark.parametrize(
    "value", [b'{"a":"\xff"}', b'{"a":1e999}', b'{"\xff":1}', b'{"a":' * 2_000 + b"1" + b"}" * 2_000]
)
def test_metadata_that_are_no_json_are_refused(value: bytes) -> None:
    head = json.dumps(record()).encode().removesuffix(b"}")
    found = read(head + b',"metadata":' + value + b"}")
    assert isinstance(found, RefusedRecord)
    assert found.code in {RecordRefusal.INVALID_MEMBER, RecordRefusal.INVALID_JSON}


@pytest.mark.parametrize("first", [b'"first"', b'"hello"', b"null", b"[1]", b'{"a":1}'])
@pytest.mark.parametrize(
    "name", [b"user_id", b"session_id", b"content", b"content_type", b"metadata", b"\\u0063ontent"]
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_member_that_stands_twice_is_refused(name: bytes, first: bytes, separators: tuple[str, str]) -> None:
    """However its name is spelt and the record is written, and also where both values are alike."""
    line = json.dumps(record(metadata={}), separators=separators).encode()
    assert isinstance(read(line), SubmittedRecord)
    found = read(line.replace(b"{", b'{"%s":%s,' % (name, first), 1))
    assert found == RefusedRecord(RecordRefusal.DUPLICATE_MEMBER, "An object in the record has a member twice.")


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":[{"c":1},{"c":2,"d":3,"c":4}]}}',
        b'{"a": [[{"": 1, "": 2}]]}',
        b'{"a":"\\ud83d","a":1}',
    ],
)
def test_a_member_that_stands_twice_within_the_metadata_is_refused(metadata: bytes) -> None:
    head = json.dumps(record()).encode().removesuffix(b"}")
    found = read(head + b',"metadata":' + metadata + b"}")
    assert found == RefusedRecord(RecordRefusal.DUPLICATE_MEMBER, "An object in the record has a member twice.")


def test_a_name_that_stands_in_several_objects_or_in_the_text_is_none_that_stands_twice() -> None:
    metadata = {"content": {"content": [{"a": 1}, {"a": 1}]}, "A": 1, "a": 2}
    assert isinstance(read(json.dumps(record('{"a":1,"a":2}', metadata=metadata)).encode()), SubmittedRecord)


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        (b"[" * 10_000 + b"]" * 10_000, "The record is nested too deeply."),
        (b'"\xff"', "The record is not valid JSON."),
        (b"NaN", "The record is not valid JSON."),
    ],
)
def test_what_another_value_of_its_name_stands_behind_is_read_as_strictly(first: bytes, sentence: str) -> None:
    line = json.dumps(record()).encode().replace(b"{", b'{"content":%s,' % first, 1)
    assert read(line) == RefusedRecord(RecordRefusal.INVALID_JSON, sentence)


def test_about_the_deepest_level_that_is_read_nothing_fails() -> None:
    """Names are looked for with a bound of their own."""
    codes = set()
    head = json.dumps(record()).encode().removesuffix(b"}")
    for levels in range(900, 1_010):
        found = read(head + b',"metadata":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}")
        codes.add(found.code if isinstance(found, RefusedRecord) else None)
    assert codes == {None, RecordRefusal.INVALID_JSON}
