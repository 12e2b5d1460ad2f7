"""What the observer would show of a data directory, read by a command; near wordings are told by their words alone."""

from collections import deque

import msgspec

from actors.observer.failures import FailureGroup, FailureGroups
from actors.observer.lines import digested, read_line
from actors.observer.playbooks import Playbook, playbooks
from actors.observer.ring import Observed, Ring
from actors.observer.settings import ObserverSettings
from persistence.journals.reading import JournalReader, StoredLine


class AtRest(msgspec.Struct, frozen=True):
    """The last operations, the groups of failures, and the playbooks."""

    ring: Ring
    failures: list[FailureGroup]
    playbooks: list[Playbook]


async def look(journal: JournalReader, settings: ObserverSettings) -> AtRest:
    """Read the whole journal. Raises JournalDamage, StorageFailure."""
    groups = FailureGroups(settings)
    last: deque[StoredLine] = deque(maxlen=settings.ring_operations_max)
    async for lines in journal.scan():
        groups.add_all(digested(lines).found)
        last.extend(lines)
    ring = Ring(settings.ring_operations_max)
    for line in last:
        found = read_line(line)
        if found is not None:
            ring.add(Observed(line.position.n, line.position.at, found[1]))
    return AtRest(ring, groups.reports(), playbooks(ring.all(), playbooks_max=settings.playbooks_max))
