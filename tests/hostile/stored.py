"""What a stopped server's data directory holds, read without the project's own code."""

from pathlib import Path

import msgspec

from tests.crash.acknowledged import rows


class _Stitched(msgspec.Struct):
    session_id: str
    total_steps: int


def stored_steps(root: Path) -> dict[str, int]:
    """The steps of each trajectory, as its line says, by session."""
    steps: dict[str, int] = {}
    for path in sorted((root / "trajectories").glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                found = msgspec.json.decode(line, type=_Stitched)
                assert found.session_id not in steps, f"{found.session_id} has two trajectories"
                steps[found.session_id] = found.total_steps
    return steps


def closed_sessions(root: Path) -> set[str]:
    """The sessions that the index has as closed."""
    return {name for (name,) in rows(root / "sessions.db", "SELECT session_id FROM sessions WHERE status = 'closed'")}


def credited_sessions(root: Path) -> set[str]:
    """The sessions that somebody was credited for."""
    return {name for (name,) in rows(root / "ledger.db", "SELECT session_id FROM credits")}
