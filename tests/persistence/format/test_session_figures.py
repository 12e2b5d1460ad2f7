"""What is counted of a record: each call once, with its own result, whatever clients write."""

from typing import Any

import msgspec
import pytest

from persistence.format.session_figures import NAME_CHARS_MAX, TOOLS_MAX, SessionFigures, ToolCalls, session_figures

BEGAN = 1_795_169_530


def counted(*steps: dict[str, Any], **members: Any) -> SessionFigures:
    log = [{"step": place, "timestamp": BEGAN + place, **step} for place, step in enumerate(steps, start=1)]
    return session_figures(msgspec.json.encode({"session_id": "sess_1", "trajectory_log": log, **members}))


def action(tool: Any, call_id: Any = None, **members: Any) -> dict[str, Any]:
    return {"type": "action", "tool": tool, **({} if call_id is None else {"call_id": call_id}), **members}


def result(call_id: Any = None, **members: Any) -> dict[str, Any]:
    return {"type": "observation", "content": "x", **({} if call_id is None else {"call_id": call_id}), **members}


def calls(tool: str, count: int, failures: int = 0, timed: int = 0, *ms: int) -> ToolCalls:
    total_ms, slowest_ms, slowest_step = ms or (0, 0, 0)
    return ToolCalls(
        tool=tool,
        calls=count,
        failures=failures,
        timed=timed,
        total_ms=total_ms,
        slowest_ms=slowest_ms,
        slowest_step=slowest_step,
    )


def test_parallel_calls_take_the_result_of_their_own_id() -> None:
    figures = counted(action("Read", "a"), action("Bash", "b"), result("b", is_error=True), result("a"))
    assert figures.tools == (calls("Bash", 1, 1, 1, 1_000, 1_000, 2), calls("Read", 1, 0, 1, 3_000, 3_000, 1))


def test_calls_without_ids_take_the_next_results_in_order() -> None:
    figures = counted(action("Read"), action("Read"), result(), {"type": "error"}, action("Read"))
    assert figures.tools == (calls("Read", 3, 1, 2, 4_000, 2_000, 1),)


def test_an_edit_that_nothing_answers_takes_no_result_of_another_call() -> None:
    figures = counted(action("Bash"), {"type": "edit", "tool": "Edit"}, result())
    assert figures.tools == (calls("Bash", 1, 0, 1, 2_000, 2_000, 1), calls("Edit", 1))


def test_times_in_milliseconds_count_as_such_and_a_clock_that_went_back_tells_no_duration() -> None:
    at_ms = BEGAN * 1_000
    figures = counted(
        action("Bash", "a", timestamp=at_ms),
        result("a", timestamp=at_ms + 250),
        action("Bash", "b", timestamp=at_ms),
        result("b", timestamp=at_ms - 1),
        action("Bash", "c", timestamp=0),
        result("c", timestamp=at_ms),
    )
    assert figures.tools == (calls("Bash", 3, 0, 1, 250, 250, 1),)


def test_a_result_that_comes_twice_or_of_nobody_counts_once_or_not() -> None:
    figures = counted(result("z"), action("Bash", "a"), result("a", is_error=True), result("a", is_error=True))
    assert figures.tools == (calls("Bash", 1, 1, 1, 1_000, 1_000, 2),)


@pytest.mark.parametrize("tool", [None, 7, "", ["Bash"], {"name": "Bash"}])
def test_what_names_no_tool_is_no_call_of_one_and_still_takes_its_result(tool: object) -> None:
    assert counted(action(tool), action("Bash"), {"type": "error"}, result()).tools == (
        calls("Bash", 1, 0, 1, 2_000, 2_000, 2),
    )


def test_names_are_cut_and_their_number_is_bounded() -> None:
    figures = counted(*(action(f"{n:04d}{'x' * 300}") for n in range(TOOLS_MAX + 5)))
    assert len(figures.tools) == TOOLS_MAX
    assert {len(each.tool) for each in figures.tools} == {NAME_CHARS_MAX}


def test_findings_are_those_of_the_record() -> None:
    report = {"findings": 3, "withheld": 0, "by_category": {"EMAIL": 2, "IP": 1, "PHONE": 0}, "places": []}
    assert counted(scrubbed=report).findings == {"EMAIL": 2, "IP": 1}
    assert counted().findings == {}


def test_what_is_no_record_is_told() -> None:
    with pytest.raises(msgspec.DecodeError):
        session_figures(b'{"trajectory_log":[{"timestamp":"now"}]}')
