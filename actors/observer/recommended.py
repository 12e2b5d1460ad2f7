"""What a judge has recommended for groups of failures, and what that has cost, as lines of the journal say. Pure."""

from collections import OrderedDict
from typing import Final, TypeVar

import msgspec

from actors.observer.operation import OWN, Operation

V = TypeVar("V")

ADVICE_ASKED: Final = "observer:question"
ADVICE: Final = "observer:recommendation"
"""Own operations: that a judge is asked about groups, and what it recommends for one."""
DAYS_MAX: Final = 3
"""Days of which is known what was spent; only the current one counts."""


class Advice(msgspec.Struct, frozen=True):
    """What a judge recommends for a group, and what it takes for the cause."""

    group_id: str
    cause: str
    recommendation: str


class AdviceAsked(msgspec.Struct, frozen=True):
    """That a judge was asked about groups on a day, for so many tokens."""

    group_ids: tuple[str, ...]
    day: str
    tokens: int


def advice_of(at: str, operation: Operation) -> Advice | AdviceAsked | None:
    """What an own operation says of a judge."""
    if operation.source != OWN or not operation.success:
        return None
    if operation.endpoint == ADVICE and operation.sig_hash is not None:
        return Advice(operation.sig_hash, str(operation.more.get("cause", "")), operation.output_summary)
    if operation.endpoint == ADVICE_ASKED:
        groups = operation.more.get("groups")
        asked = tuple(str(each) for each in groups) if isinstance(groups, list) else ()
        return AdviceAsked(asked, at[:10], int(operation.count or 0))
    return None


class KeptAdvice:
    """The advice for at most `groups_max` groups, the latest; how often was asked about each, and for how much."""

    def __init__(self, groups_max: int) -> None:
        self._groups_max = groups_max
        self._advice: OrderedDict[str, Advice] = OrderedDict()
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._tokens: OrderedDict[str, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<KeptAdvice {len(self._advice)} of {self._groups_max}>"

    def take(self, said: Advice | AdviceAsked) -> None:
        """Take in what a line says."""
        if isinstance(said, Advice):
            _put(self._advice, said.group_id, said, self._groups_max)
            return
        _put(self._tokens, said.day, self.tokens(said.day) + said.tokens, DAYS_MAX)
        for group_id in said.group_ids:
            _put(self._asked, group_id, self._asked.get(group_id, 0) + 1, self._groups_max)

    def of(self, group_id: str) -> Advice | None:
        """The advice for a group."""
        return self._advice.get(group_id)

    def times_asked(self, group_id: str) -> int:
        """How often a judge was asked about it."""
        return self._asked.get(group_id, 0)

    def tokens(self, day: str) -> int:
        """What the questions of a day have cost."""
        return self._tokens.get(day, 0)


def _put(kept: OrderedDict[str, V], key: str, value: V, entries_max: int) -> None:
    """Keep a value, at most so many: one more takes the place of the one that was put longest ago."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > entries_max:
        kept.popitem(last=False)
