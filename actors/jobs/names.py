"""The ids that people and programs know jobs by: `<queue>__<number>`.

What has an id of its own elsewhere, as exports and erasures have, goes by that behind its queue's name: the same thing
is called the same everywhere. The number that such an id gives is what it is asked for by; its job can be named with
that number, too.
"""

import re
from typing import Final

from persistence.databases.jobs_database import StoredJob

QUEUE: Final = re.compile(r"\A[a-z][a-z0-9-]{0,62}\Z")
NUMBER_DIGITS: Final = 14
"""Of an own id's hexadecimal digits, those that its number is made of: they fit into 18 decimal ones."""

_JOB_ID: Final = re.compile(r"\A([a-z][a-z0-9-]{0,62})__(?:([1-9][0-9]{0,17})|([a-z]{1,8}_[0-9a-f]{14,32}))\Z")


def public_id(job: StoredJob) -> str:
    """The id of a job."""
    return f"{job.queue}__{job.own_id}"


def read_id(text: str) -> tuple[str, int] | None:
    """The queue and the number of an id; None for what is none."""
    found = _JOB_ID.match(text)
    if found is None:
        return None
    return found[1], number_of(found[3]) if found[2] is None else int(found[2])


def number_of(own_id: str) -> int:
    """The number of what has an id with hexadecimal digits of its own, from 1."""
    return 1 + int(own_id.rpartition("_")[2][:NUMBER_DIGITS], 16)
