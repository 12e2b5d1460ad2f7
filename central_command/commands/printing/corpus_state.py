"""What the corpus holds, as one listing after the other."""

from collections.abc import Mapping

from central_command.terminal.listing import Column, Listing
from persistence.upkeep.corpus_reading import CorpusState


def corpus_listings(state: CorpusState) -> list[Listing]:
    """Totals, reasons, models and rules; of what there is none, no listing."""
    totals = state.totals
    summary = {
        "records": totals.records,
        "steps": totals.steps,
        "tokens": totals.tokens,
        "findings": totals.findings,
        "texts withheld": totals.withheld,
        "fit for training": totals.training_eligible,
        "exact copies": totals.copies,
        "clusters": totals.clusters,
        "judged": totals.judged,
        "stored bytes": totals.stored_bytes,
        "passed over": sum(totals.passed_over.values()),
        "waiting": state.waiting,
    }
    texts = totals.texts
    of_texts = {
        "texts": texts.records,
        "users": texts.users,
        "characters": texts.chars,
        "findings": texts.findings,
        "texts withheld": texts.withheld,
        "exact copies": texts.copies,
        "stored bytes": texts.stored_bytes,
        "passed over": sum(texts.passed_over.values()),
        "waiting": state.texts_waiting,
    }
    found = (
        _counts("corpus", "", summary),
        _counts("tier", "records", totals.tiers),
        _counts("passed over", "trajectories", totals.passed_over),
        _counts("model", "records", totals.models),
        _counts("rules", "records", totals.rules),
        _counts("intake", "", of_texts if texts.records or texts.passed_over or state.texts_waiting else {}),
        _counts("content type", "texts", texts.content_types),
        _counts("domain", "texts", texts.domains),
        _counts("passed over", "texts", texts.passed_over),
    )
    return [each for each in found if each is not None]


def _counts(name: str, figure: str, counts: Mapping[str, int]) -> Listing | None:
    listing = Listing(Column(name, may_be_cut=True), Column(figure, is_figure=True))
    for key, count in counts.items():
        listing.add(key, count)
    return listing if counts else None
