"""A writer that does not move while lines wait is seen; one that is slow, or has nothing to do, is none."""

from collections.abc import Mapping
from typing import Any, cast

import trio
import trio.testing

from persistence.format.records import JournalName
from persistence.journals.journal import Journal
from persistence.journals.stalls import LOOK_S, Stalls


class Figures:
    """A journal of which only the figures are looked at."""

    def __init__(self) -> None:
        self.has_waiting_lines = False
        self.lines = self.refused_for_room = 0

    def statistics(self) -> "Figures":
        return self


def looking_at(journal: Figures, clock: Any) -> Stalls:
    journals: Mapping[JournalName, Journal] = {JournalName.ENVELOPES: cast("Journal", journal)}
    return Stalls(journals, monotonic=clock)


def test_a_stall_lasts_from_where_it_was_first_seen() -> None:
    """Until a line is answered, stored or refused."""
    now = 0.0
    journal = Figures()
    stalls = looking_at(journal, lambda: now)
    now = 5.0
    assert stalls.stalled_s() == {"envelopes": 0.0}
    journal.has_waiting_lines = True
    assert stalls.stalled_s() == {"envelopes": 0.0}
    now = 12.0
    assert stalls.stalled_s() == {"envelopes": 7.0}
    for moved in ("lines", "refused_for_room"):
        setattr(journal, moved, 1)
        assert stalls.stalled_s() == {"envelopes": 0.0}
        now += 3.0
        assert stalls.stalled_s() == {"envelopes": 3.0}
    journal.has_waiting_lines = False
    assert stalls.stalled_s() == {"envelopes": 0.0}
    journal.has_waiting_lines = True
    assert stalls.stalled_s() == {"envelopes": 0.0}


async def test_it_looks_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    """A stall that nobody asked about while it began is as long as it is, but for one look."""
    journal = Figures()
    journal.has_waiting_lines = True
    stalls = looking_at(journal, trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stalls.run)
        await trio.sleep(100)
        assert 100 - LOOK_S <= stalls.stalled_s()["envelopes"] <= 100
        nursery.cancel_scope.cancel()
