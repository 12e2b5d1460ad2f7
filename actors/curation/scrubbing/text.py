"""A text as the rules see it."""

from functools import cached_property

from actors.curation.scrubbing import keywords


class Text:
    """A text with what its gate found; the lower-cased copy is made when the first rule asks for it."""

    def __init__(self, text: str, found: frozenset[str], *, literal: bool) -> None:
        self.text = text
        self.literal = literal
        self.found = found

    @cached_property
    def lower(self) -> str:
        """The text in lower case, of the same length (a few letters beyond ASCII grow when lowered: they stay)."""
        lower = self.text.lower()
        return lower if len(lower) == len(self.text) else self.text.translate(keywords.ASCII_LOWER)
