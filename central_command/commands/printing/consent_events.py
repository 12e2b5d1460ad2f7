"""Events of consent as a listing."""

from collections.abc import Iterable

from central_command.terminal.listing import Column, Listing
from persistence.format.consent_events import ShownEvent


def events_listing(events: Iterable[ShownEvent], *, empty: str) -> Listing:
    """One event a row, in the order that they come; `empty` is said where there is none."""
    listing = Listing(
        Column("time"),
        Column("said"),
        Column("terms"),
        Column("notice"),
        Column("source"),
        Column("event", may_be_cut=True),
        empty=empty,
    )
    for each in events:
        listing.add(each.at, each.state.value, each.version, each.notice_version, each.source.value, each.id)
    return listing
