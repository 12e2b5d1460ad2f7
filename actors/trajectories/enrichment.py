"""Enrichment: what later stages find out about a trajectory (contract, "EnrichmentPipeline"). Nothing does so yet."""

from typing import Literal

import msgspec

EnrichmentState = Literal["pending"]


class Enrichment(msgspec.Struct, frozen=True, kw_only=True):
    """The state of each later stage; `pending` until there is one."""

    cognitive_target: EnrichmentState = "pending"
    model_verified: EnrichmentState = "pending"
    quality_assessment: EnrichmentState = "pending"


def enrich() -> Enrichment:
    """The enrichment of a trajectory that was just stitched: every stage is yet to come."""
    return Enrichment()
