"""Fields are found by the model that is handed in, and not where the client has said them."""

import struct
from collections.abc import Sequence

from actors.curation.field_tagging import FieldTagger
from actors.curation.fields import FIELDS
from actors.embedding.engine import TokenIds
from tests.actors.curation.trajectory_lines import prompt, trajectory


class WordEngine:
    """Embeds a text as how often it has each of three words."""

    def tokenise(self, text: str) -> TokenIds:
        """A number for each word."""
        return [*(text.lower().count(word) for word in ("deadlock", "query", "terraform")), 1]

    def with_ends(self, tokens: TokenIds) -> TokenIds:
        """Not asked for."""
        raise NotImplementedError

    def run(self, rows: Sequence[Sequence[TokenIds]], width: int) -> list[bytes]:
        """The numbers themselves."""
        return [struct.pack(f"<{width}f", *tokens) for texts in rows for tokens in texts]

    def stop(self) -> None:
        """Nothing is under way."""


def test_a_trajectory_has_the_fields_whose_descriptions_are_nearest() -> None:
    tagger = FieldTagger(WordEngine(), 0.05)
    tags = tagger(trajectory(prompt("terraform terraform terraform terraform")))
    assert tags is not None
    assert tags.primary is not None
    assert tags.primary.domain == "cloud_infrastructure"
    assert repr(tagger) == f"<FieldTagger {len(FIELDS)} fields>"


def test_what_the_client_says_is_not_said_again_and_of_nothing_nothing_is_said() -> None:
    tagger = FieldTagger(WordEngine(), 0.05)
    said = {"provider": "codex", "model_engine": "o3", "domain_tags": {"primary": {"domain": "x", "confidence": 1}}}
    assert tagger(trajectory(prompt("deadlock"), metadata=said)) is None
    assert tagger(trajectory()) is None
