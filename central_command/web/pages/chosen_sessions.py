"""Which sessions the address of a page chooses, read and checked in one way for every page that offers a choice."""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from central_command.corpus.index_filters import Choice
from central_command.http.endpoints.search import FILTERS
from central_command.http.requests.bodies import bad_query, filled_in

C = TypeVar("C", bound=Choice)

TIMES: Final = ("after", "before")
VALUES_MAX: Final = 32
VALUE_CHARS_MAX: Final = 200


def chosen_sessions(kind: type[C], names: Iterable[str] = FILTERS, **more: Any) -> C:
    """The choice that filters by these names, and times, are; `more` are its other members.

    Raises ProblemError for what may not be asked for.
    """
    given = filled_in()
    members: dict[str, Any] = {}
    for name in (*names, *TIMES):
        values = tuple(given.getlist(name))
        if len(values) > VALUES_MAX or any(len(each) > VALUE_CHARS_MAX for each in values):
            raise bad_query(f"There are too many values of {name}, or one is too long.")
        if name in TIMES:
            members[name] = values[0].strip() if values else None
        else:
            members[FILTERS[name]] = values
    try:
        return kind(**members, **more)
    except ValueError as error:
        raise bad_query(str(error)) from None
