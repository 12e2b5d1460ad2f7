"""`observed` calls, times, summarises and tells, and a call is never worse for it."""

from typing import Any

import pytest

from central_command.observing.observed import ObservedCalls, summary_of


class Gateway:
    """Answers as it is told, and keeps what the observer was told."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.told: list[dict[str, Any]] = []
        self.seconds = iter((5.0, 5.25))
        self.calls = ObservedCalls(
            call=self._call, record=self._record, clock=lambda: 1_796_040_000.0, timer=lambda: next(self.seconds)
        )

    async def _call(self, endpoint: str, body: object) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def _record(self, operation: dict[str, Any]) -> None:
        self.told.append(operation)


async def test_a_call_is_timed_summarised_and_told() -> None:
    gateway = Gateway({"rows": [1, 2], "took": 3})
    assert await gateway.calls.observed("/q", {"sql": "x"}, "count orders") == {"rows": [1, 2], "took": 3}
    assert gateway.told == [
        {
            "timestamp": "2026-11-30T12:00:00.000000Z",
            "endpoint": "/q",
            "input_summary": "count orders",
            "success": True,
            "duration_ms": 250.0,
            "output_summary": "2 rows",
            "error": None,
            "source": "mcp",
        }
    ]


@pytest.mark.parametrize("said", ["no such table", {"code": 3}])
async def test_an_answer_with_an_error_is_a_failure_and_still_the_answer(said: object) -> None:
    gateway = Gateway({"error": said})
    assert await gateway.calls.observed("/q", {}, "x") == {"error": said}
    assert not gateway.told[0]["success"]
    assert gateway.told[0]["error"] in {"no such table", '{"code":3}'}


async def test_what_the_call_raises_is_told_and_raised() -> None:
    gateway = Gateway(ConnectionError("refused"))
    with pytest.raises(ConnectionError):
        await gateway.calls.observed("/q", {}, "x")
    assert gateway.told[0]["error"] == "ConnectionError: refused"


async def test_an_observer_that_is_not_there_changes_nothing() -> None:
    async def answer(_endpoint: str, _body: object) -> object:
        return "done"

    calls = ObservedCalls(call=answer, observer="http://127.0.0.1:9")
    assert await calls.observed("/q", {}, "x") == "done"


@pytest.mark.parametrize(
    ("answer", "summary"),
    [([1, 2], "2 results"), ("text", "text"), ({"a": 1}, '{"a":1}'), (None, "null"), ("x" * 300, "x" * 200)],
)
def test_an_answer_is_summed_up(answer: object, summary: str) -> None:
    assert summary_of(answer) == summary
