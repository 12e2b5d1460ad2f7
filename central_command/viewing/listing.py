"""The table of sessions: chosen, in an order, a page at a time. Blocking."""

from typing import Any

import msgspec

from central_command.corpus.index_filters import Choice, index_filters
from central_command.viewing.records import Records
from persistence.databases.search_rows import IndexedSession
from persistence.databases.session_reading import FACETS, SortKey
from persistence.databases.summaries import Summary

COUNTED_MAX = 10_000
"""Sessions that are counted; of more it is said that there are more."""

VALUES_MAX = 200
"""Values that are offered of each filter."""


class Chosen(Choice, frozen=True, kw_only=True):
    """What is asked of the table, and in which order."""

    key: SortKey = "started_at"
    descending: bool = True


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A session, the pseudonym of who contributed it, and its title, once it has one."""

    session: IndexedSession
    contributor: str
    title: str | None = None


class SessionsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions in order; `behind` is the value and the number that the next page begins behind, None on the last one.

    `count` is how many there are of all that were chosen, at most COUNTED_MAX. `values` are what each filter offers.
    """

    sessions: list[Listed]
    behind: tuple[Any, int] | None
    count: int
    values: dict[str, list[str]]


def page_of(records: Records, chosen: Chosen, behind: tuple[Any, int] | None) -> SessionsPage:
    """A page of the table."""
    limit = records.settings.sessions_max
    with records.index() as reader:
        filters = index_filters(chosen, reader.contributors, records.pseudonym)
        found = reader.page(filters, chosen.key, descending=chosen.descending, behind=behind, limit=limit + 1)
        shown = records.shown(found[:limit])
        last = found[limit - 1] if len(found) > limit else None
        summaries = records.summaries([each.session_id for each in shown])
        return SessionsPage(
            sessions=[_listed(records, each, summaries.get(each.session_id)) for each in shown],
            behind=None if last is None else (_value(last, chosen.key), last.n),
            count=reader.count(filters, COUNTED_MAX),
            values={column: reader.values(column, VALUES_MAX) for column in FACETS},
        )


def _listed(records: Records, session: IndexedSession, summary: Summary | None) -> Listed:
    title = None if summary is None else summary.title
    return Listed(session=session, contributor=records.pseudonym(session.contributor_id), title=title)


def _value(session: IndexedSession, key: SortKey) -> Any:  # noqa: ANN401 (a text or a number, as the key has it)
    return getattr(session, key) or ("" if key == "started_at" else 0)
