"""The enrichment of one trajectory, all parts of it."""

from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.enrichment.verdicts import CuratedEnrichment
from actors.curation.stitched import StitchedTrajectory


def enrich(trajectory: StitchedTrajectory, settings: EnrichmentSettings) -> CuratedEnrichment:
    """Find out what the steps of a trajectory tell; the same trajectory always gives the same verdicts."""
    raise NotImplementedError
