"""Lines of the trajectories journal, as short as a test can have them."""

from typing import Any

import msgspec

from actors.curation.stitched import StitchedTrajectory, read_stitched


def call(tool: str, result: str | None = "done", *, failed: bool = False, **arguments: Any) -> list[dict[str, Any]]:
    """An action and its result; None: it was never answered."""
    action = {"type": "action", "tool": tool, "arguments": arguments, "content": f"Using {tool}"}
    if result is None:
        return [action]
    return [action, {"type": "error" if failed else "observation", "tool": tool, "content": result}]


def prompt(text: str, **members: Any) -> dict[str, Any]:
    return {"type": "instruction", "source": "user", "content": text, **members}


def thought(text: str, **members: Any) -> dict[str, Any]:
    return {"type": "thought", "content": text, **members}


def trajectory(*steps: dict[str, Any] | list[dict[str, Any]], **members: Any) -> StitchedTrajectory:
    """A trajectory of a minute and 1,000 tokens; lists of steps are laid out flat."""
    log = [step for each in steps for step in (each if isinstance(each, list) else [each])]
    line = {
        "trajectory_id": "traj_1",
        "metadata": {"provider": "claude-code", "model_engine": "claude-opus-4-6"},
        "trajectory_log": [{"step": n, "timestamp": 1795169530 + n, **step} for n, step in enumerate(log, 1)],
        "started_at": "2026-11-20T10:12:00.000000Z",
        "ended_at": "2026-11-20T10:13:00.000000Z",
        "total_tokens": 1_000,
        **members,
    }
    return read_stitched(msgspec.json.encode(line))
