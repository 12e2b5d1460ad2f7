"""How many tokens a Codex session took: the program counts them up, so what came since it last told is the difference.

It tells the same figures again with each change of its limits, and it may begin to count anew: when the session is
resumed by an older version, and when its context was full.
"""

from central_command.client.contract.usage import ReportedUsage, UsageList
from central_command.client.transcripts.json_values import object_of
from central_command.client.transcripts.reported import OF_OPENAI

_Counts = tuple[int, ...]
_NONE: _Counts = (0, 0, 0, 0)


class CountedUsage:
    """The usage of one session by the figures of its file, without those of copied lines where it goes on from them."""

    def __init__(self, reports: UsageList) -> None:
        self._reports = reports
        reports.is_told_behind = True
        self._copied = _NONE
        self._before: _Counts | None = None

    def take(self, figures: object) -> None:
        """Take the figures of all so far; the first that are not zero tell where they began."""
        if not object_of(figures):
            return
        told = OF_OPENAI.read(figures).counts()
        counts = tuple(count or 0 for count in told)
        before = self._copied if self._before is None else self._before
        if counts == before or (self._before is None and counts == _NONE):
            return
        self._before = counts
        if _has_begun_anew(counts, before):
            before = _NONE
        more = (None if each is None else count - old for each, count, old in zip(told, counts, before, strict=True))
        self._reports.add_behind(ReportedUsage(*more))

    def take_copied(self, figures: object) -> None:
        """Take figures that stand in copied lines."""
        if object_of(figures):
            self._copied = tuple(count or 0 for count in OF_OPENAI.read(figures).counts())


def total_of(event: object) -> object:
    """The figures of a `token_count` event."""
    return object_of(object_of(event).get("info")).get("total_token_usage")


def _has_begun_anew(counts: _Counts, before: _Counts) -> bool:
    return any(count < old for count, old in zip(counts, before, strict=True))
