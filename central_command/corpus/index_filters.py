"""What may be asked of the index of the corpus, and the same as the index takes it: first moments, and ids."""

from collections.abc import Callable, Iterable

import msgspec

from central_command.corpus.asked_times import first_moment
from central_command.corpus.filters import Filters, check_values
from persistence.databases.search_reading import SessionFilters


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions, each filter of any of several values; `contributors` are pseudonyms, times as people write.

    Raises ValueError for a time that is none, for a tier or an outcome that there is not, and for halves of characters,
    which no text of the corpus has.
    """

    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    contributors: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    after: str | None = None
    before: str | None = None

    def __post_init__(self) -> None:
        filters = Filters(after=self.after, before=self.before, tiers=self.tiers, outcomes=self.outcomes)
        try:
            msgspec.json.encode({name: getattr(self, name) for name in self.__struct_fields__})
        except UnicodeEncodeError:
            raise ValueError("What is asked for is no valid Unicode.") from None
        check_values(filters)


def index_filters(
    choice: Choice, contributors: Callable[[], Iterable[str]], pseudonym: Callable[[str], str]
) -> SessionFilters:
    """The filters of a choice. `contributors` gives the ids of all, and is asked only where some are chosen."""
    wanted = set(choice.contributors)
    return SessionFilters(
        providers=choice.providers,
        models=choice.models,
        domains=choice.domains,
        tiers=choice.tiers,
        outcomes=choice.outcomes,
        tools=choice.tools,
        contributor_ids=tuple(each for each in contributors() if pseudonym(each) in wanted) if wanted else None,
        after=None if choice.after is None else first_moment(choice.after),
        before=None if choice.before is None else first_moment(choice.before),
    )
