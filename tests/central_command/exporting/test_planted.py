"""What makes readers stumble, each in a session of its own: it comes out right, or is left out for a reason."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from central_command.exporting.chat import JOINT
from central_command.exporting.formats.table import FORMATS
from central_command.exporting.settings import ExportSettings
from central_command.exporting.shape import Shape
from central_command.exporting.verifying import read_index, verify_export
from tests.central_command.exporting.conftest import MADE_UP, contents, make
from tests.central_command.exporting.test_families import HOSTILE
from tests.corpus_maker import put_sessions, session, steps_of

NAMES = list(HOSTILE)
OF_SESSIONS = [name for name, known in FORMATS.items() if known.of_record is None and known not in MADE_UP]


def planted(number: int, name: str) -> bytes:
    """A session as any other, at whose end something is hard to keep; half a surrogate pair is an escape in JSON."""
    steps = [*steps_of(f"planted{number}", 2), {"type": "instruction", "content": f"Now {name}"}, *HOSTILE[name]]
    return json.dumps(session(number, steps), separators=(",", ":")).encode()


def integers(value: Any) -> list[int]:
    """All integers within a value of JSON."""
    if isinstance(value, dict | list):
        return [found for each in (value.values() if isinstance(value, dict) else value) for found in integers(each)]
    return [value] if type(value) is int else []


def test_each_comes_out_right_or_is_left_out_and_counted(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    root, target = tmp_path / "data", tmp_path / "out"
    trio.run(put_sessions, root, [planted(number, name) for number, name in enumerate(NAMES)])
    shape = Shape(keep_incomplete=True)
    manifest = make(root, target, *OF_SESSIONS, shape=shape, settings=ExportSettings(), dedup="none").manifest
    assert list(verify_export(target)) == []
    assert (manifest.seen, manifest.kept, manifest.left_out) == (len(NAMES), len(NAMES) - 1, {"cut_arguments": 1})
    for name, counts in manifest.formats.items():
        assert counts.trajectories + sum(counts.left_out.values()) == manifest.kept, name
    for entry in read_index(target):
        assert entry.places.keys() | entry.left_out.keys() == set(OF_SESSIONS), entry.session_id
        assert entry.places.keys().isdisjoint(entry.left_out), entry.session_id
    assert (manifest.facts.mended_numbers, manifest.facts.findings["[EMAIL]"]) == (2, 1)
    files = contents(target)
    texts = b"".join(files.values())
    for gone in (b"AKIAIOSFODNN7EXAMPLE", b"jane.doe", b"\\ud83d", "head…tail".encode()):
        assert gone not in texts
    for path, text in files.items():
        if path.endswith(".jsonl"):
            rows = [json.loads(row) for row in text.decode("utf-8", "strict").splitlines()]
            assert all(-(2**63) <= number < 2**64 for number in integers(rows)), path


def test_messages_hold_each_as_it_was(tmp_path: Path) -> None:
    """Five megabytes, NUL, calls at once in their order, a call that nobody answers, an answer to nothing."""
    root, target = tmp_path / "data", tmp_path / "out"
    trio.run(put_sessions, root, [planted(number, name) for number, name in enumerate(NAMES)])
    make(root, target, "messages", shape=Shape(keep_incomplete=True), settings=ExportSettings(), dedup="none")
    lines = (target / "messages" / "train-00000.jsonl").read_text("utf-8").splitlines()
    rows = {NAMES[int(row["session_id"].removeprefix("sess_"))]: row for row in map(json.loads, lines)}
    assert rows.keys() == set(NAMES) - {"cut"}
    last = {name: row["messages"][-1] for name, row in rows.items()}
    assert last["surrogates"]["content"] == "half \ufffd and \x00 between"
    assert last["long"]["content"] == "word " * 1_000_000
    assert [each["function"]["arguments"] for each in rows["integers"]["messages"][-2]["tool_calls"]] == [
        {"n": str(10**30), "m": str(-(2**63) - 1)}
    ]
    asked, *answers = rows["parallel"]["messages"][-3:]
    assert [each["tool_call_id"] for each in answers] == [each["id"] for each in asked["tool_calls"]] == ["p", "q"]
    assert [each["content"] for each in answers] == ["a", "b"]
    assert (rows["no_result"]["incomplete"], last["no_result"]["tool_calls"][0]["id"]) == (True, "n")
    assert "an answer to nothing" in JOINT.join(each["content"] for each in rows["no_call"]["messages"])
    assert (rows["no_calls"]["incomplete"], last["no_calls"]["content"]) == (False, "Nothing to call.")
