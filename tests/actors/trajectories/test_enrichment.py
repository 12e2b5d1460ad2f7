"""Enrichment: a block that says what is yet to come."""

import msgspec

from actors.trajectories.enrichment import enrich


def test_every_stage_is_pending() -> None:
    """The block is the contract's, member for member."""
    pending = {"cognitive_target": "pending", "model_verified": "pending", "quality_assessment": "pending"}
    assert msgspec.to_builtins(enrich()) == pending
