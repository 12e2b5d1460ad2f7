"""An event becomes an operation with the original's defaults, bounded and scrubbed, and keeps what is not known."""

from typing import Any

import pytest

from actors.observer.operation import Bounds, OperationReader, OperationRefused, as_members, encoded, stored

READER = OperationReader(Bounds(2_000, 8_192))
AT = "2026-11-30T12:00:00.000000Z"


def shown(**members: Any) -> dict[str, Any]:
    return as_members(READER.completed(members, AT))


def test_what_an_event_leaves_out_is_what_the_original_fills_in() -> None:
    assert shown() == {
        "timestamp": AT,
        "endpoint": "scenario:fill",
        "input_summary": "? ?\u00d7? in ?, ?",
        "success": False,
        "duration_ms": 0,
        "output_summary": "failed",
        "source": "scenario",
    }
    filled = shown(event_kind="fill", role="welder", count=3, city="Gary", state="IN", success=True)
    assert (filled["input_summary"], filled["output_summary"], filled["count"]) == (
        "fill welder\u00d73 in Gary, IN",
        "filled",
        3,
    )
    assert shown(error="no worker")["output_summary"] == "no worker"
    assert shown(source="mcp", endpoint="/log", input_summary="x", output_summary="y", success=True) == {
        "timestamp": AT,
        "endpoint": "/log",
        "input_summary": "x",
        "success": True,
        "duration_ms": 0,
        "output_summary": "y",
        "source": "mcp",
    }


def test_members_that_are_not_known_are_kept_and_null_is_as_missing() -> None:
    kept = shown(trace={"id": "t1", "spans": [1, 2]}, more="mine", role=None)
    assert (kept["trace"], kept["more"]) == ({"id": "t1", "spans": [1, 2]}, "mine")
    assert "role" not in kept


def test_names_of_members_that_are_not_known_are_scrubbed_and_none_is_lost() -> None:
    kept = shown(**{"anna.smith@example.com": 1, "bob.jones@example.com": {"carl.king@example.com": [{"x": 2}]}})
    assert "example.com" not in str(kept)
    assert 1 in kept.values()
    assert [[{"x": 2}]] in [[*each.values()] for each in kept.values() if isinstance(each, dict)]


def test_an_operation_is_read_as_it_was_stored() -> None:
    operation = READER.completed({"role": "x", "more": [1], "count": 2.5, "success": True}, AT)
    assert stored(encoded(operation)) == operation


def test_texts_are_scrubbed_and_cut_before_they_are_kept() -> None:
    kept = shown(
        error="mail anna.smith@example.com " + "x " * 5_000, sig_hash="ab" * 32, note="token=hunter2hunter2abc"
    )
    assert "anna.smith@example.com" not in str(kept)
    assert len(kept["error"]) < 2_100
    assert kept["sig_hash"] == "ab" * 32
    assert len(shown(endpoint="e" * 5_000)["endpoint"]) <= 201


@pytest.mark.parametrize(
    "members",
    [
        {"success": "yes"},
        {"success": 1},
        {"duration_ms": "3"},
        {"duration_ms": -1},
        {"duration_ms": True},
        {"duration_ms": 1e300},
        {"endpoint": 7},
        {"error": {"message": "x"}},
        {"count": "three"},
        {"rescue_attempted": 0},
        {"unknown": "x" * 9_000},
    ],
)
def test_a_wrong_member_is_refused_with_one_sentence(members: dict[str, Any]) -> None:
    with pytest.raises(OperationRefused) as refused:
        READER.completed(members, AT)
    assert str(refused.value).endswith(".")
    assert str(refused.value).count(". ") == 0


def test_a_correction_is_an_operation_of_its_source_that_went_well() -> None:
    row = (
        b'{"task_class":"fill","correction":"ask first","applied_at_turn":3,"sig_hash":"abcdef0123",'
        b'"created_at":"2026-11-29T00:00:00Z"}'
    )
    kept = as_members(READER.correction(row, AT))
    assert (kept["source"], kept["success"], kept["input_summary"]) == ("overseer_correction", True, "fill at turn 3")
    assert (kept["output_summary"], kept["timestamp"]) == ("ask first", "2026-11-29T00:00:00Z")
    for wrong in (b"[]", b"{", b'{"correction":3}', b"\xff"):
        with pytest.raises(OperationRefused):
            READER.correction(wrong, AT)
