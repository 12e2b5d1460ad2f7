"""Where runs of steps were first seen, in ledger.db: which trajectory, which step.

The rows are projected from the trajectories journal (`persistence.databases.projection`). Those of the last lines are
gathered, a row for each line, until so many are there that a trigger puts them into the table that is looked up by key.
So what is gathered is held in memory here, and read on with each look, in the same state of the database.

The keys are chance, so each that is looked up is on a page of its own: they are asked for in order, and so many at a
time that neither a query nor its answer is large, in the thread of the database's reader.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Final

import msgspec
import trio

from persistence.databases.database import Database, Query, Row

LOOKED_UP_AT_ONCE: Final = 4_096
"""Fingerprints in one query."""

SELECT_SEEN: Final = """
SELECT f.fingerprint, f.n, f.step, source.session_id, source.trajectory_id
FROM json_each(?) AS asked CROSS JOIN fingerprints AS f ON f.fingerprint = asked.value
JOIN fingerprinted AS source ON source.n = f.n
"""
SELECT_FIRST_GATHERED: Final = "SELECT min(n) FROM gathered_fingerprints"
SELECT_GATHERED: Final = "SELECT n, fingerprints FROM gathered_fingerprints WHERE n > ? ORDER BY n"
SELECT_SOURCES: Final = (
    "SELECT n, session_id, trajectory_id FROM fingerprinted WHERE n IN (SELECT value FROM json_each(?))"
)

_LIST: Final = msgspec.json.Decoder(list[int])


class FirstSeen(msgspec.Struct, frozen=True):
    """Where a run of steps was first seen: line `n` of the trajectories journal, and its first step's place, from 1."""

    n: int
    step: int
    session_id: str
    trajectory_id: str


class FirstPlaces:
    """In memory, where fingerprints stand first among lines that are taken in in their order: the line, the step."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<FirstPlaces {len(self)}>"

    def add(self, n: int, fingerprints: Sequence[int]) -> Collection[int]:
        """Take in those of line `n`; answer which of them no line before it has."""
        steps = range(len(fingerprints), 0, -1)
        places = dict(zip(reversed(fingerprints), zip(repeat(n), steps, strict=False), strict=True))
        for known in places.keys() & self._places.keys():
            del places[known]
        self._places |= places
        return tuple(places)

    def forget(self, fingerprints: Iterable[int]) -> None:
        """Let go of what `add` has answered."""
        for each in fingerprints:
            del self._places[each]

    def those_of(self, asked: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Those that are there."""
        return {each: self._places[each] for each in asked if each in self._places}


class Gathered:
    """The fingerprints that are gathered: up to 65,536, and those of one trajectory."""

    def __init__(self) -> None:
        self._first_n: int | None = None
        self._last_n = 0
        self.places = FirstPlaces()

    def __repr__(self) -> str:
        return f"<Gathered {len(self.places)} up to line {self._last_n}>"

    @property
    def queries(self) -> tuple[Query, Query]:
        """What to ask for `take`."""
        return (SELECT_FIRST_GATHERED, ()), (SELECT_GATHERED, (self._last_n,))

    def take(self, first: Sequence[Row], rows: Sequence[Row]) -> None:
        """Take in the answers; those that were put in their places meanwhile are forgotten: it is done with all."""
        ((first_n,),) = first
        if first_n != self._first_n:
            self._first_n, self.places = first_n, FirstPlaces()
        for n, listed in rows:
            self._last_n = n
            self.places.add(n, _LIST.decode(listed))


class Fingerprints:
    """The fingerprints of a ledger.db, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathered = Gathered()
        self._turn = trio.Lock()
        """Answers are taken in in the order in which they were asked for."""

    def __repr__(self) -> str:
        return f"<Fingerprints {self._database!r}>"

    async def first_seen(self, fingerprints: Iterable[int], *, before_n: int | None = None) -> dict[int, FirstSeen]:
        """Those that were seen, each with where that was; with `before_n` only in lines before that one."""
        found: dict[int, FirstSeen] = {}
        in_order = sorted(set(fingerprints))
        for start in range(0, len(in_order), LOOKED_UP_AT_ONCE):
            asked = in_order[start : start + LOOKED_UP_AT_ONCE]
            async with self._turn:
                queries = [(SELECT_SEEN, (_listed(asked),)), *self._gathered.queries]
                placed, *gathered = await self._database.read_snapshot(queries)
                self._gathered.take(*gathered)
                places = self._gathered.places.those_of(asked)
            sources = await self._sources(sorted({n for n, _ in places.values()}))
            found |= {each: FirstSeen(n, step, *sources[n]) for each, (n, step) in places.items()}
            found |= {each: FirstSeen(*source) for each, *source in placed}
        return found if before_n is None else {each: seen for each, seen in found.items() if seen.n < before_n}

    async def _sources(self, lines: Sequence[int]) -> dict[int, tuple[str, str]]:
        sources: dict[int, tuple[str, str]] = {}
        for start in range(0, len(lines), LOOKED_UP_AT_ONCE):
            rows = await self._database.read(SELECT_SOURCES, (_listed(lines[start : start + LOOKED_UP_AT_ONCE]),))
            sources |= {n: (session_id, trajectory_id) for n, session_id, trajectory_id in rows}
        return sources


def _listed(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(numbers).decode()
