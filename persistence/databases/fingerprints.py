"""Where runs of steps were first seen, in ledger.db and before they get there: which trajectory.

Theory of operation. The rows are projected from the trajectories journal (`persistence.databases.projection`), somewhat
later than a line is on disk. Those of the last lines are gathered, a row for each line, until so many are there that a
trigger puts them in their places, in the table that is looked up by key. Until then they are in memory here: whoever
writes a line notes it at once, and what was gathered before is read once. With each look, in the same state of the
database, it is told up to which line all are in their places, and these are forgotten.

The keys are chance, so each that is looked up is on a page of its own: they are asked for in order, and so many at a
time that neither a query nor its answer is large, in the thread of the database's reader. But most sessions hold
nothing that anybody has seen. So with a filter (`persistence.databases.key_filter`) only what it may have seen is asked
for, and mostly nothing. A start fills it from the table, behind all else; until then everything is asked for, and so it
is when there is too much for it.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec
import trio

from persistence.databases.database import Database, DatabaseUnavailable
from persistence.databases.key_filter import KeyFilter

log = logging.getLogger("central_command.storage")

LOOKED_UP_AT_ONCE: Final = 4_096
"""Fingerprints in one query."""

FILLED_AT_ONCE: Final = 4_096
"""Fingerprints that are put into the filter together: some 3 ms."""
FILLING_REST_S: Final = 0.02
"""Seconds between two of these, for everybody else."""

# One statement, which sees one state of the database, and one row: with each row and each statement SQLite gives the
# interpreter's lock away and takes it back.
LOOK: Final = """
WITH seen AS MATERIALIZED (
    SELECT json_group_array(asked.key) AS places, json_group_array(f.n) AS lines,
        json_group_array(DISTINCT f.n) AS sources
    FROM json_each(?1) AS asked CROSS JOIN fingerprints AS f ON f.fingerprint = asked.value
)
SELECT places, lines,
    (SELECT json_group_array(json_array(n, json_array(session_id, trajectory_id))) FROM fingerprinted
        WHERE n IN (SELECT value FROM json_each(sources) UNION SELECT value FROM json_each(?2))),
    (SELECT json_group_array(json_array(n, json(fingerprints))) FROM gathered_fingerprints WHERE n > ?3),
    (SELECT min(n) FROM gathered_fingerprints),
    coalesce((SELECT n FROM projection_positions WHERE journal = 'trajectories'), 0)
FROM seen
"""
SELECT_SOURCES: Final = (
    "SELECT n, session_id, trajectory_id FROM fingerprinted WHERE n IN (SELECT value FROM json_each(?))"
)
SELECT_PLACED: Final = "SELECT fingerprint FROM fingerprints WHERE fingerprint > ? ORDER BY fingerprint LIMIT ?"

KEY_MIN: Final = -(2**63)
_NAMES: Final = msgspec.json.Decoder(list[tuple[int, tuple[str, str]]])
_NUMBERS: Final = msgspec.json.Decoder(list[int])
_BY_LINE: Final = msgspec.json.Decoder(list[tuple[int, list[int]]])


class FirstSeen(msgspec.Struct, frozen=True):
    """Where a run of steps was first seen: line `n` of the trajectories journal."""

    n: int
    session_id: str
    trajectory_id: str


class FirstLines:
    """In memory, in which line fingerprints stand first, of lines that are taken in in their order."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._lines: dict[int, Collection[int]] = {}  # what of each line no line before it has

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return f"<FirstLines {len(self)} of {len(self._lines)} lines>"

    def add(self, n: int, fingerprints: Sequence[int]) -> None:
        """Take in those of line `n`."""
        new = dict.fromkeys(fingerprints, n)
        for known in new.keys() & self._first.keys():
            del new[known]
        self._first |= new
        self._lines[n] = tuple(new)

    def forget_up_to(self, n: int) -> None:
        """Let go of this line and those before it."""
        for line in [line for line in self._lines if line <= n]:
            for each in self._lines.pop(line):
                del self._first[each]

    def those_of(self, asked: Iterable[int]) -> dict[int, int]:
        """The lines of those that are there."""
        first = self._first
        return {each: first[each] for each in asked if each in first}


class Fingerprints:
    """The fingerprints of a ledger.db and of the lines that it will hold, which are noted here."""

    def __init__(self, database: Database, *, filter_bytes: int = 0) -> None:
        """`filter_bytes` is the memory that a filter may take; 0 for none."""
        self._database = database
        self._unplaced = FirstLines()
        self._sources: dict[int, tuple[str, str]] = {}
        """Session and trajectory of the lines that were noted and that have no rows yet."""
        self._read_n: int | None = None
        """Up to this line all are known here or in their places."""
        self._noted_n = 0
        self._filter = KeyFilter(1 << filter_bytes.bit_length() - 1) if filter_bytes else None
        self._is_filled = False
        self._turn = trio.Lock()
        """Answers are taken in in the order in which they were asked for."""

    def __repr__(self) -> str:
        return f"<Fingerprints {self._database!r} {self._unplaced!r}>"

    @property
    def unplaced(self) -> int:
        """How many are held in memory because they were not in their places at the last look."""
        return len(self._unplaced)

    @property
    def noted_n(self) -> int:
        """The last line that was noted."""
        return self._noted_n

    def note(self, n: int, session_id: str, trajectory_id: str, fingerprints: Sequence[int]) -> None:
        """Line `n` is on disk, and will be projected; whoever wrote it has looked before, in the same turn."""
        self._noted_n = n
        self._sources[n] = session_id, trajectory_id
        self._take(n, fingerprints)
        if self._read_n == n - 1:
            self._read_n = n

    async def first_seen(
        self, fingerprints: Iterable[int], *, before_n: int | None = None, unplaced_max: int | None = None
    ) -> dict[int, FirstSeen]:
        """Those that were seen, each with where that was; with `before_n` only in lines before that one.

        The database is looked at in any case when more than `unplaced_max` are held in memory.
        """
        if self._filter is not None and self._is_filled and self._read_n == self._noted_n:
            fingerprints = self._filter.perhaps(fingerprints)
            if not fingerprints and (unplaced_max is None or self.unplaced <= unplaced_max):
                await trio.lowlevel.checkpoint()
                return {}
        asked = sorted(set(fingerprints))
        found: dict[int, FirstSeen] = {}
        for start in range(0, max(1, len(asked)), LOOKED_UP_AT_ONCE):
            found |= await self._look(asked[start : start + LOOKED_UP_AT_ONCE])
        return found if before_n is None else {each: seen for each, seen in found.items() if seen.n < before_n}

    async def fill(self) -> None:
        """Fill the filter from the table; returns when that is done, or when there is too much for it."""
        if self._filter is None:
            return
        try:
            await self.first_seen(())  # what is gathered may be put in its place where the table was read already
            await self._fill(self._filter)
        except DatabaseUnavailable as unavailable:
            log.warning("%s; the steps of each session are looked up until the next start", unavailable)

    async def _fill(self, known: KeyFilter) -> None:
        key, keys, last = KEY_MIN, 0, FILLED_AT_ONCE
        known.add([key])
        while last == FILLED_AT_ONCE:
            rows = await self._database.read(SELECT_PLACED, (key, FILLED_AT_ONCE))
            last = len(rows)
            keys += last
            if keys > known.keys_max:
                self._filter = None
                return
            known.add([each for (each,) in rows])
            if rows:
                key = rows[-1][0]
                await trio.sleep(FILLING_REST_S)
        self._is_filled = True

    async def _look(self, asked: Sequence[int]) -> dict[int, FirstSeen]:
        """Look some up in the database and in memory."""
        async with self._turn:
            held = self._unplaced.those_of(asked)
            ((places, lines_seen, names, gathered, gathered_n, reached_n),) = await self._database.read(
                LOOK, (_listed(asked), _listed([*set(held.values())]), self._read_n or 0)
            )
            # What has rows is named as they say, where its name may be erased.
            sources = self._sources | dict(_NAMES.decode(names))
            if self._take_in(sorted(_BY_LINE.decode(gathered)), gathered_n, reached_n):
                held = self._unplaced.those_of(asked)
        sources |= await self._projected_sources(sorted(set(held.values()) - sources.keys()))
        lines = {n: FirstSeen(n, *source) for n, source in sources.items()}
        found = {each: lines[n] for each, n in held.items()}
        # Both lists are of the same rows in the same order.
        for place, n in zip(_NUMBERS.decode(places), _NUMBERS.decode(lines_seen), strict=True):
            found[asked[place]] = lines[n]
        return found

    def _take_in(self, gathered: Sequence[tuple[int, Sequence[int]]], gathered_n: int | None, reached_n: int) -> bool:
        """Take in what is gathered and was not noted, if any, and let go of what is in its place.

        `gathered_n` is the first line of those that are gathered, `reached_n` the last that has rows. It is done with
        all that is gathered at once.
        """
        unknown = [(n, fingerprints) for n, fingerprints in gathered if n not in self._sources]
        for n, fingerprints in unknown:
            self._take(n, fingerprints)
        self._read_n = max(self._read_n or 0, reached_n)
        while self._read_n + 1 in self._sources:
            self._read_n += 1
        self._noted_n = max(self._noted_n, reached_n)
        for n in [n for n in self._sources if n <= reached_n]:
            del self._sources[n]
        self._unplaced.forget_up_to(reached_n if gathered_n is None else gathered_n - 1)
        return bool(unknown)

    def _take(self, n: int, fingerprints: Sequence[int]) -> None:
        self._unplaced.add(n, fingerprints)
        if self._filter is not None:
            self._filter.add(fingerprints)

    async def _projected_sources(self, lines: Sequence[int]) -> dict[int, tuple[str, str]]:
        sources: dict[int, tuple[str, str]] = {}
        for start in range(0, len(lines), LOOKED_UP_AT_ONCE):
            rows = await self._database.read(SELECT_SOURCES, (_listed(lines[start : start + LOOKED_UP_AT_ONCE]),))
            sources |= {n: (session_id, trajectory_id) for n, session_id, trajectory_id in rows}
        return sources


def _listed(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(numbers).decode()
