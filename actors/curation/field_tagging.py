"""Field tags of trajectories, by a model that is loaded: the fields' descriptions are embedded once, at its start."""

from actors.curation.fields import FIELDS, FieldTags, embedded_text, field_tags
from actors.curation.session_embedding import embedding_of
from actors.curation.stitched import StitchedTrajectory, object_of
from actors.embedding.engine import Engine


class FieldTagger:
    """Says what a trajectory is about; it blocks for as long as one text takes to be embedded."""

    def __init__(self, engine: Engine, confidence_min: float) -> None:
        self._engine = engine
        self._confidence_min = confidence_min
        self._fields = {name: embedding_of(description, engine) for name, description in FIELDS.items()}

    def __repr__(self) -> str:
        return f"<FieldTagger {len(self._fields)} fields>"

    def __call__(self, trajectory: StitchedTrajectory) -> FieldTags | None:
        """The fields of a trajectory; None where the client has said them itself, or nothing in it tells."""
        if object_of(trajectory.metadata).get("domain_tags") is not None:
            return None
        text = embedded_text(trajectory)
        return field_tags(embedding_of(text, self._engine), self._fields, self._confidence_min) if text else None
