"""The enrichment of one trajectory, all parts of it."""

from actors.curation.enrichment.calls import calls_of
from actors.curation.enrichment.guesses import derive
from actors.curation.enrichment.models import model_verdict
from actors.curation.enrichment.quality import quality_of
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.enrichment.targets import target_of
from actors.curation.enrichment.verdicts import RULES_VERSION, CuratedEnrichment
from actors.curation.stitched import StitchedTrajectory


def enrich(trajectory: StitchedTrajectory, settings: EnrichmentSettings) -> CuratedEnrichment:
    """Find out what the steps of a trajectory tell; the same trajectory always gives the same verdicts.

    Linear in the trajectory's size; of what a step holds only bounded parts are looked at.
    """
    steps = trajectory.trajectory_log
    calls = calls_of(steps)
    return CuratedEnrichment(
        rules_version=RULES_VERSION,
        cognitive_target=target_of(steps, calls),
        model_verified=model_verdict(trajectory),
        quality_assessment=quality_of(trajectory, calls, settings),
        derived=derive(steps, calls),
    )
