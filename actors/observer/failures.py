"""Failures grouped by endpoint and by what they say, near wordings together, as they come. Pure.

A wording that is known goes to its group. A new one joins the group of the same endpoint whose words it shares most of,
or whose meaning it is near to, where embeddings are there; else it begins a group. Two that have different known
causes, or different statuses of HTTP, are never joined; two that have the same one need fewer words in common.

What is counted is counted by the day of the journal, so that what the journal forgets is forgotten here.
"""

import hashlib
import operator
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from actors.observer.causes import UNKNOWN_RECOMMENDATION, Cause, known_cause
from actors.observer.messages import Wording, likeness, wording_of
from actors.observer.operation import CORRECTION, OWN, Operation
from actors.observer.recommended import Advice, AdviceAsked, KeptAdvice
from actors.observer.settings import ObserverSettings
from persistence.format import times

LIKE_MIN: Final = 0.6
"""Share of common words from which two wordings are one failure."""
LIKE_WITH_CAUSE_MIN: Final = 0.25
"""The same where both have the same known cause."""

CHANGES_MAX: Final = 1_000
"""Changes that are remembered, to be looked up when a group begins."""
CHANGES_SHOWN: Final = 10
WORDINGS_COMPARED: Final = 20
"""Wordings of a group that a new one is compared with."""
SHOWN_CHARS: Final = 200

STARTED: Final = "service:start"
REREAD: Final = "service:settings"
CHANGE_ENDPOINTS: Final = frozenset((STARTED, REREAD))

Vectors = Mapping[str, Sequence[float]]
"""Embeddings by wording, each of length 1."""


class Change(msgspec.Struct, frozen=True):
    """Something after which failures may begin."""

    at: str
    what: str


class Failure(msgspec.Struct, frozen=True):
    """A failed operation, ready to be grouped; `at` is when it came."""

    at: str
    operation: Operation
    wording: Wording
    cause: Cause | None


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failures that are one, as it is shown: `first` and `last` are times, `wordings` how many were told apart.

    `recommended_by` is `table`, `judge`, or `nobody` where neither knows the cause.
    """

    id: str
    endpoint: str
    message: str
    count: int
    wordings: int
    first: str
    last: str
    cause: str | None
    recommendation: str
    recommended_by: str
    example: dict[str, Any]
    before: list[Change]


class _Day:
    __slots__ = ("count", "first", "last")

    def __init__(self, at: str) -> None:
        self.count, self.first, self.last = 0, at, at


class _Group:
    """One group as it grows."""

    def __init__(self, failure: Failure, before: list[Change]) -> None:
        self.endpoint = failure.operation.endpoint
        self.message = failure.wording.text
        self.cause = failure.cause
        self.statuses = failure.wording.statuses
        self.before = before
        self.days: dict[str, _Day] = {}
        self.wordings: list[Wording] = []
        self.wordings_count = 0
        self.example = failure

    def add(self, failure: Failure, *, is_new_wording: bool) -> None:
        if is_new_wording:
            self.wordings_count += 1
            if len(self.wordings) < WORDINGS_COMPARED:
                self.wordings.append(failure.wording)
        day = self.days.setdefault(failure.at[:10], _Day(failure.at))
        day.count += 1
        day.first, day.last = min(day.first, failure.at), max(day.last, failure.at)
        self.example = failure

    def likeness(self, failure: Failure, vectors: Vectors, cosine_min: float) -> float:
        """How well a failure fits, from 0 (not at all) to 1."""
        if failure.wording.statuses != self.statuses or _differ(self.cause, failure.cause):
            return 0.0
        by_words = max(likeness(each.words, failure.wording.words) for each in self.wordings)
        if by_words >= (LIKE_WITH_CAUSE_MIN if self.cause and failure.cause else LIKE_MIN):
            return by_words
        own = vectors.get(failure.wording.text)
        if own is None:
            return 0.0
        first = vectors.get(self.message)  # one for each group: a comparison takes longer than all of its words
        cosine = 0.0 if first is None else sum(map(operator.mul, own, first))
        return cosine if cosine >= cosine_min else 0.0

    @property
    def id(self) -> str:
        key = f"{self.endpoint}\n{self.message}".encode()
        return hashlib.sha256(key).hexdigest()[:16]

    def report(self, advice: Advice | None) -> FailureGroup:
        known = self.cause or advice
        example = self.example.operation
        shown = {
            "timestamp": example.timestamp,
            "source": example.source,
            "input_summary": example.input_summary,
            "error": example.failure,
        }
        return FailureGroup(
            id=self.id,
            endpoint=self.endpoint,
            message=self.message,
            count=sum(day.count for day in self.days.values()),
            wordings=self.wordings_count,
            first=min(day.first for day in self.days.values()),
            last=max(day.last for day in self.days.values()),
            cause=known.name if isinstance(known, Cause) else None if known is None else known.cause,
            recommendation=UNKNOWN_RECOMMENDATION if known is None else known.recommendation,
            recommended_by="nobody" if known is None else "table" if known is self.cause else "judge",
            example=shown,
            before=self.before,
        )


def _differ(one: Cause | None, other: Cause | None) -> bool:
    return one is not None and other is not None and one.name != other.name


Found = Failure | Change | Advice | AdviceAsked
"""What a line of the journal may come to."""


class FailureGroups:
    """All groups, at most `groups_max`: one more takes the place of the one that was added to longest ago."""

    def __init__(self, settings: ObserverSettings) -> None:
        self._groups_max = settings.groups_max
        self._wordings_max = settings.wordings_max
        self._near_cosine_min = settings.near_cosine_min
        self._before_window_s = settings.before_window_s
        self._groups: OrderedDict[tuple[str, str], _Group] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], _Group] = OrderedDict()
        self._vectors: OrderedDict[str, Sequence[float]] = OrderedDict()
        self._changes: deque[Change] = deque(maxlen=CHANGES_MAX)
        self.advice = KeptAdvice(settings.groups_max)

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return f"<FailureGroups {len(self)} of {self._groups_max}>"

    def unknown(self, failures: Sequence[Failure]) -> list[str]:
        """The wordings that are new, each once, in their order."""
        new = {
            each.wording.text: None
            for each in failures
            if (each.operation.endpoint, each.wording.text) not in self._known
        }
        return list(new)

    def learn(self, vectors: Vectors) -> None:
        """Take embeddings of wordings in, each of length 1."""
        for text, vector in vectors.items():
            self._vectors[text] = vector
            if len(self._vectors) > self._groups_max * 2:
                self._vectors.popitem(last=False)

    def note(self, change: Change) -> None:
        """Remember that something changed."""
        self._changes.append(change)

    def add(self, failure: Failure) -> None:
        """Count a failure in its group."""
        key = (failure.operation.endpoint, failure.wording.text)
        group = self._known.get(key)
        is_new_wording = group is None
        if group is None:
            group = self._nearest(failure) or self._begun(key, failure)
            self._known[key] = group
            if len(self._known) > self._wordings_max:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        group.add(failure, is_new_wording=is_new_wording)
        self._groups.move_to_end((group.endpoint, group.message))

    def add_all(self, found: Sequence[Found]) -> None:
        """Take in what lines say, in their order."""
        for each in found:
            match each:
                case Failure():
                    self.add(each)
                case Change():
                    self.note(each)
                case Advice() | AdviceAsked():
                    self.advice.take(each)

    def without_advice(self, *, failures_min: int, asked_max: int, limit: int) -> list[FailureGroup]:
        """Groups of so many failures that no known cause fits, and that a judge was not asked about so often yet."""
        found: list[FailureGroup] = []
        for group in reversed(self._groups.values()):
            if group.cause is not None or self.advice.of(group.id) or self.advice.times_asked(group.id) >= asked_max:
                continue
            report = group.report(None)
            if report.count >= failures_min:
                found.append(report)
            if len(found) == limit:
                break
        return found

    def _nearest(self, failure: Failure) -> _Group | None:
        found, most = None, 0.0
        for group in self._groups.values():
            if group.endpoint == failure.operation.endpoint:
                like = group.likeness(failure, self._vectors, self._near_cosine_min)
                if like > most:
                    found, most = group, like
        return found

    def _begun(self, key: tuple[str, str], failure: Failure) -> _Group:
        since = times.to_text(times.from_text(failure.at) - self._before_window_s)
        before = [each for each in self._changes if since <= each.at <= failure.at]
        group = _Group(failure, before[-CHANGES_SHOWN:])
        self._groups[key] = group
        self.note(Change(failure.at, f"{group.endpoint} began to fail: {group.message[:SHOWN_CHARS]}"))
        if len(self._groups) > self._groups_max:
            _, oldest = self._groups.popitem(last=False)
            self._forget_wordings(oldest)
        return group

    def forget(self, up_to_day: str) -> None:
        """Count nothing of the days up to one any more; a group of which nothing is left goes."""
        for key, group in list(self._groups.items()):
            for day in [day for day in group.days if day <= up_to_day]:
                del group.days[day]
            if not group.days:
                del self._groups[key]
                self._forget_wordings(group)

    def _forget_wordings(self, group: _Group) -> None:
        for key in [key for key, known in self._known.items() if known is group]:
            del self._known[key]

    def reports(self) -> list[FailureGroup]:
        """All groups, the one that was added to last first."""
        return [group.report(self.advice.of(group.id)) for group in reversed(self._groups.values())]


def failure_of(at: str, operation: Operation) -> Failure | None:
    """What of an operation is grouped; None for one that went well."""
    if operation.success:
        return None
    message = operation.failure
    wording = wording_of(message)
    return Failure(at, operation, wording, known_cause(message))


def change_of(at: str, operation: Operation) -> Change | None:
    """What an operation says of a change after which others may fail."""
    if operation.source == CORRECTION:
        return Change(at, f"correction: {(operation.correction or operation.output_summary)[:SHOWN_CHARS]}")
    if operation.source == OWN and operation.endpoint in CHANGE_ENDPOINTS:
        return Change(at, operation.output_summary[:SHOWN_CHARS])
    return None
