"""The ids that people and programs know jobs by: `<queue>__<number>`."""

import re
from typing import Final

QUEUE: Final = re.compile(r"\A[a-z][a-z0-9-]{0,62}\Z")
_JOB_ID: Final = re.compile(r"\A([a-z][a-z0-9-]{0,62})__([1-9][0-9]{0,17})\Z")


def public_id(queue: str, job_id: int) -> str:
    """The id of a job of a queue."""
    return f"{queue}__{job_id}"


def read_id(text: str) -> tuple[str, int] | None:
    """The queue and the number of an id; None for what is none."""
    found = _JOB_ID.match(text)
    return None if found is None else (found[1], int(found[2]))
