"""What a check has found, a line for each place; bounded, because a missing file alone can make millions."""

from typing import Final

FINDINGS_MAX: Final = 1_000
"""More findings than anyone reads."""


class Findings:
    """The lines found so far, at most `FINDINGS_MAX`, and one that says that there are more."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __repr__(self) -> str:
        return f"<Findings {len(self.lines)}>"

    def add(self, line: str) -> None:
        """Take one in."""
        if len(self.lines) < FINDINGS_MAX:
            self.lines.append(line)
        elif len(self.lines) == FINDINGS_MAX:
            self.lines.append(f"more than {FINDINGS_MAX} findings; the rest is not listed")
