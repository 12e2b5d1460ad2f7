"""What an export is made of, as the engine sees it: sessions, or the intake's records.

A source tells what there is, whether it belongs in the export, and what rows it has.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from central_command.corpus.stored import ShownRecords
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.contents import Entry
from central_command.exporting.plan import Candidate, Plan
from central_command.exporting.reasons import LeftOutReason
from central_command.exporting.selection import Selection
from central_command.exporting.shape import Row
from central_command.exporting.tokens import TokenCounter

Item = TypeVar("Item")
Rows = Mapping[str, Sequence[Row | msgspec.Raw]]
"""Rows by the name of their format; one that has none is not there."""


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What records are judged with, beside what is asked for: files that were given, and what bounds memory."""

    benchmarks: Benchmarks
    counter: TokenCounter | None
    family_bytes_max: int


class Left(Exception):  # noqa: N818 (no error: the expected end for a record)
    """A record is left out for a reason; `detail` is what there is to say of it beside that."""

    def __init__(self, reason: LeftOutReason, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail


class Found(msgspec.Struct, frozen=True):
    """A record that there is, and why it is left out, where that is known without reading it."""

    candidate: Candidate
    left_out: LeftOutReason | None = None


class Source(Protocol[Item]):
    """Where records come from; an `Item` is one that was read."""

    def found(self, snapshot: ShownRecords) -> Iterator[Found]:
        """Yield what there is, in the order of its lines."""
        ...

    def check(self, candidate: Candidate, *, is_chosen: bool) -> None:
        """Raise Left for one that does not belong in the export for what the plan has kept before.

        Once it does it always does; `is_chosen` is one that was judged before.
        """
        ...

    def judged(self, candidate: Candidate) -> Item:
        """Read a record that passed its check; raises Left for one that does not belong in the export."""
        ...

    def read(self, candidate: Candidate) -> Item:
        """Read a record that was judged before; raises Left for one that is not there any more."""
        ...

    def made(self, candidate: Candidate, item: Item) -> tuple[Rows, Entry]:
        """Make the rows of a record, and say what is counted of it, without the places of its rows."""
        ...


def check_without_reading(candidate: Candidate, *, plan: Plan, selection: Selection) -> None:
    """Raise Left for a copy of what the plan has kept, and for one that belongs to another split."""
    is_split = len(selection.splits) > 1
    owner = plan.split_of_cluster(candidate.cluster) if candidate.cluster and is_split else None
    if owner is not None and owner != candidate.split:
        raise Left(LeftOutReason.BETWEEN_SPLITS, candidate.cluster)
    if selection.dedup != "none" and candidate.sha256 and plan.has_steps(candidate.sha256):
        raise Left(LeftOutReason.EXACT_COPY, candidate.sha256)
    if selection.dedup == "near" and candidate.cluster and plan.has_cluster(candidate.cluster):
        raise Left(LeftOutReason.NEAR_COPY, candidate.cluster)
