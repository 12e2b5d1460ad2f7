"""What docs/format.md says is counted of a session's calls, counted from that page alone."""

from typing import Any

Row = dict[str, Any]


def calls_by_tool(steps: list[Row]) -> dict[str, Row]:
    """The rows of `tool_calls` of a session, by tool."""
    rows: dict[str, Row] = {}
    waiting: dict[str, list[tuple[int, Row]]] = {}
    for place, step in enumerate(steps, start=1):
        call_id = step.get("call_id") or ""
        if step["type"] in {"action", "edit"}:
            if (tool := (step.get("tool") or "")[:200]) and (tool in rows or len(rows) < 1_000):
                row = rows.setdefault(tool, dict.fromkeys(("calls", "failures", "timed", "total_ms"), 0))
                row |= {"tool": tool, "slowest_ms": 0, "slowest_step": 0} | row | {"calls": row["calls"] + 1}
            if call_id or step["type"] == "action":
                waiting.setdefault(call_id, []).append((place, step))
        elif step["type"] in {"observation", "error"} and waiting.get(call_id):
            at, call = waiting[call_id].pop(0)
            called = rows.get((call.get("tool") or "")[:200])
            if called is None:
                continue
            called["failures"] += step["type"] == "error" or step.get("is_error") is True
            took_ms = round(_ms(step) - _ms(call))
            if _ms(call) > 0 and took_ms >= 0:
                called["timed"] += 1
                called["total_ms"] += took_ms
                if took_ms > called["slowest_ms"] or not called["slowest_step"]:
                    called |= {"slowest_ms": took_ms, "slowest_step": at}
    return rows


def _ms(step: Row) -> float:
    return float(step["timestamp"]) * (1 if step["timestamp"] >= 10**12 else 1_000)
