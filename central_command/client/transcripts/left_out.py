"""What of a session file is no step, counted by kind for a person to read."""

from collections import Counter

_KINDS_MAX = 60
"""Most kinds that are told apart: a file's own names may be as many as its lines."""
_KIND_CHARS_MAX = 80
_OTHERS = "records of further kinds"


class LeftOut:
    """Counts what a reader passes over, on purpose or because it does not know it.

    Records that no reader knows are counted under their own name.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, kind: str, number: int = 1) -> None:
        """Count `number` more of a kind, such as "compaction summaries"; an empty name is a record without one."""
        if kind in self._counts:
            self._counts[kind] += number
        elif number:
            known = (kind or "records without a type")[:_KIND_CHARS_MAX]
            self._counts[known if known in self._counts or len(self._counts) < _KINDS_MAX else _OTHERS] += number

    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(self._counts)
