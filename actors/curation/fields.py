"""The fields of software work that a session can be about, and how one is told from its embedding. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from actors.curation.stitched import StitchedTrajectory

FIELDS: Final[Mapping[str, str]] = {}
"""The fields by their names, each with the description that is embedded (once, by whoever calls `field_tags`)."""


class FieldTag(msgspec.Struct, frozen=True):
    """A field, and how sure that is, 0 to 1; named as `domain_tags` of the contract are."""

    domain: str
    confidence: float


class FieldTags(msgspec.Struct, frozen=True):
    """The three nearest fields, the nearest first; None from where on none is near enough."""

    primary: FieldTag | None
    secondary: FieldTag | None
    tertiary: FieldTag | None


def embedded_text(trajectory: StitchedTrajectory) -> str:
    """The text that stands for a trajectory when it is embedded: its first prompts, its tools and files, bounded."""
    raise NotImplementedError


def field_tags(embedding: Sequence[float], fields: Mapping[str, Sequence[float]]) -> FieldTags:
    """The fields of a text by its embedding, and those of the descriptions by their fields' names."""
    raise NotImplementedError
