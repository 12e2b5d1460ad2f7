"""Every failpoint: which operation of which phase, at which moments, in what kind of life.

A start and a stop go step by step, so the moment after a step is the one before the next, and one of them is enough. In
between much happens at once, and both are listed.
"""

import msgspec

from tests.crash.failpoints import Moment, Operation, Phase

BEFORE, HALFWAY, AFTER = Moment.BEFORE, Moment.HALFWAY, Moment.AFTER
STEP = (BEFORE,)
WITHIN = (BEFORE, HALFWAY)
BOTH = (BEFORE, AFTER)
ALL = (BEFORE, HALFWAY, AFTER)

FIRST_THREE = (1, 2, 3)
ONCE = (1, 1, 1)
"""In three lives that differ in their sessions."""

JOURNALS = ("envelopes", "refused", "trajectories")
LATER_JOURNALS = ("consent", "intake")
"""Opened with the others at each start, but synced and cut by nobody before something is written to them."""

DATABASES = ("sessions.db", "ledger.db")


class Place(msgspec.Struct, frozen=True):
    """An operation, the moments to die at, and which time it happens each of the deaths is at."""

    operation: Operation
    moments: tuple[Moment, ...]
    counts: tuple[int, ...]
    is_crowded: bool = False
    """Whether more sessions are driven than there may be actors, so that actors end and come back all the time."""


def _places(
    phase: Phase,
    action: str,
    wheres: str | tuple[str, ...],
    moments: tuple[Moment, ...] = STEP,
    counts: tuple[int, ...] = ONCE,
    *,
    is_crowded: bool = False,
) -> list[Place]:
    """The same operation at several places."""
    each = (wheres,) if isinstance(wheres, str) else wheres
    return [Place(Operation(phase, action, where), moments, counts, is_crowded) for where in each]


_START, _RECOVERY, _SERVING, _STOP = Phase.FIRST_START, Phase.RECOVERY, Phase.SERVING, Phase.STOP
_DAY = Phase.DAY_CHANGE

FIRST_START = (
    *_places(_START, "make folder", ("data", *JOURNALS)),
    *_places(_START, "sync folder", ("beside data", *JOURNALS)),
    *_places(_START, "sync folder", "data", counts=FIRST_THREE),
    *_places(_START, "sync folder of master.key:", ("data", "keys")),
    *_places(_START, "create draft of", "master.key", BOTH),
    *_places(_START, "sync draft of", "master.key"),
    *_places(_START, "link", "master.key", BOTH),
    *_places(_START, "open", DATABASES),
    *_places(_START, "sync new database in", "data", counts=(1, 2, 1)),
    *_places(_START, "migrate", "sessions.db", BOTH, counts=(1, 9, 26)),
    *_places(_START, "migrate", "ledger.db", BOTH, counts=(1, 5, 9)),
    *_places(_START, "commit an opening in", "sessions.db", BOTH),
    *_places(_START, "look into", "ledger.db"),
    *_places(_START, "list", JOURNALS, counts=(1, 2, 4)),
    *_places(_START, "make folder", LATER_JOURNALS),
    *_places(_START, "sync folder", LATER_JOURNALS),
    *_places(_START, "list", LATER_JOURNALS),
)

SERVING = (
    *_places(_SERVING, "look into", "sessions.db", counts=FIRST_THREE),  # into the ledger only for what may be a copy
    *_places(_SERVING, "commit an opening in", "sessions.db", ALL, FIRST_THREE),
    *_places(_SERVING, "create file in", JOURNALS),
    *_places(_SERVING, "sync new file in", JOURNALS),
    *_places(_SERVING, "sync folder", JOURNALS),
    *_places(_SERVING, "write", JOURNALS, ALL, (1, 3, 7)),
    *_places(_SERVING, "sync", JOURNALS, BOTH, (1, 3, 7)),
    *_places(_SERVING, "create file in", "consent"),
    *_places(_SERVING, "sync new file in", "consent"),
    *_places(_SERVING, "sync folder", "consent"),
    *_places(_SERVING, "write", "consent", ALL),
    *_places(_SERVING, "sync", "consent", BOTH),
    # Opened once the service is there, as a server's process does it.
    *_places(_SERVING, "make folder", "operations"),
    *_places(_SERVING, "sync folder", "operations"),
    *_places(_SERVING, "list", "operations"),
    *_places(_SERVING, "sync folder", "data"),
    *_places(_SERVING, "create file in", "operations"),
    *_places(_SERVING, "sync new file in", "operations"),
    *_places(_SERVING, "write", "operations", ALL),
    *_places(_SERVING, "sync", "operations", BOTH),
    *_places(_SERVING, "answer", ("an opening", "a chunk", "a resend"), BOTH, (1, 4, 9)),
    *_places(_SERVING, "answer", ("a refused chunk", "USER_FEEDBACK"), BOTH, FIRST_THREE),
    *_places(_SERVING, "answer", ("SESSION_CLOSE", "an HTTP close"), BOTH, FIRST_THREE),
    *_places(_SERVING, "commit lines in", DATABASES, ALL, FIRST_THREE, is_crowded=True),
    *_places(_SERVING, "end", "an actor", BOTH, (1, 4, 9), is_crowded=True),
    *_places(_SERVING, "read", "envelopes", counts=(1, 4, 9), is_crowded=True),
)

DAY_CHANGE = tuple(
    place
    # Every day has envelopes, so there is a second change of theirs; the others change when they come to it.
    for journal, counts in (("envelopes", (1, 2, 3)), ("refused", ONCE), ("trajectories", ONCE))
    for place in (
        *_places(_DAY, "create file in", journal, BOTH, counts),
        *_places(_DAY, "sync new file in", journal, STEP, counts),
        *_places(_DAY, "sync folder", journal, BOTH, counts),
        *_places(_DAY, "write", journal, WITHIN, counts),
        *_places(_DAY, "sync", journal, BOTH, counts),
    )
)

STOP = (
    *_places(_STOP, "end", "an actor", counts=FIRST_THREE),
    *_places(_STOP, "commit lines in", DATABASES, ALL),
    *_places(_STOP, "checkpoint", DATABASES),
    *_places(_STOP, "close", DATABASES, BOTH),
)

RECOVERY = (
    *_places(_RECOVERY, "make folder", ("data", *JOURNALS)),
    *_places(_RECOVERY, "make folder", LATER_JOURNALS),
    *_places(_RECOVERY, "list", LATER_JOURNALS),
    *_places(_RECOVERY, "sync folder", LATER_JOURNALS),
    *_places(_RECOVERY, "open", DATABASES),
    *_places(_RECOVERY, "list", JOURNALS, counts=FIRST_THREE),
    *_places(_RECOVERY, "sync", JOURNALS, counts=(1, 2, 1)),
    *_places(_RECOVERY, "sync folder", JOURNALS),
    *_places(_RECOVERY, "read", JOURNALS, counts=FIRST_THREE),
    *_places(_RECOVERY, "make folder", "torn", counts=FIRST_THREE),
    *_places(_RECOVERY, "sync folder", "data"),
    *_places(_RECOVERY, "list", "torn", counts=FIRST_THREE),
    *_places(_RECOVERY, "create file in", "torn", counts=FIRST_THREE),
    *_places(_RECOVERY, "truncate", "torn", counts=FIRST_THREE),
    *_places(_RECOVERY, "write", "torn", ALL, FIRST_THREE),
    *_places(_RECOVERY, "sync", "torn", counts=FIRST_THREE),
    *_places(_RECOVERY, "sync folder", "torn", counts=FIRST_THREE),
    *_places(_RECOVERY, "truncate", JOURNALS, BOTH),
    *_places(_RECOVERY, "commit lines in", DATABASES, ALL),
    *_places(_RECOVERY, "look into", DATABASES),
    *_places(_RECOVERY, "write", "trajectories", ALL),
)

PLACES: tuple[Place, ...] = (*FIRST_START, *SERVING, *DAY_CHANGE, *STOP, *RECOVERY)

INTERRUPTED_SEEDS = (1, 2, 6)
"""Sessions of which some send chunks that are refused: every journal has lines in their first wave."""
