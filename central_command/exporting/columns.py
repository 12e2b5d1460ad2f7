"""The flat columns that rows have beside what was said: the same ones, of the same types, in every format with rows.

No name is one by which `datasets` takes a table for agent traces (`id`, `source`, `model`, `system_prompt`, `type`).
Every column is there in every row, null where nothing is known. `tokens` is null unless a tokeniser has counted them:
the corpus holds an estimate only. There is no score: what contributors are credited with says nothing of quality.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.shape import Row


class Column(msgspec.Struct, frozen=True):
    """A column: its name, its type as `datasets` calls it, and what of a trajectory it holds."""

    name: str
    dtype: str
    value: Callable[[Trajectory], object]


COLUMNS: Final = (
    Column("record_id", "string", lambda each: each.record_id),
    Column("session_id", "string", lambda each: each.session_id),
    Column("contributor", "string", lambda each: each.contributor or None),
    Column("provider", "string", lambda each: each.provider),
    Column("model_name", "string", lambda each: each.model),
    Column("agent_role", "string", lambda each: each.agent_role),
    Column("started_at", "string", lambda each: each.started_at),
    Column("ended_at", "string", lambda each: each.ended_at),
    Column("steps", "int64", lambda each: len(each.steps)),
    Column("tokens", "int64", lambda each: each.tokens),
    Column("part", "int64", lambda each: each.part),
    Column("parts", "int64", lambda each: each.parts),
    Column("outcome", "string", lambda each: None if each.outcome is None else each.outcome.status),
    Column("feedback", "string", lambda each: each.feedback[-1].signal if each.feedback else None),
    Column("cognitive_target", "string", lambda each: each.enrichment.cognitive_target.target),
    Column("quality", "int64", lambda each: each.enrichment.quality_assessment.score),
    Column("tier", "string", lambda each: each.enrichment.quality_assessment.tier),
    Column("training_eligible", "bool", lambda each: each.enrichment.quality_assessment.training_eligible),
    Column(
        "domain", "string", lambda each: None if each.domain_tags.primary is None else each.domain_tags.primary.domain
    ),
    Column("cluster", "string", lambda each: each.duplicates.cluster or None),
    Column("scrubbed", "int64", lambda each: each.scrubbed.findings),
    Column("withheld", "int64", lambda each: each.scrubbed.withheld),
    Column("consent_version", "string", lambda each: each.consent.version),
    Column("rules", "string", lambda each: each.rules),
)
"""`outcome` is what the client reported, `feedback` the last that somebody gave; neither is ever a guess."""

FEATURES: Final = tuple((column.name, column.dtype) for column in COLUMNS)
"""As `Format.features` has them."""


PARENT: Final = (("parent_session_id", "string"),)
"""The column beside them where sub-agents are embedded: whose sub-agent it is, null of all others."""


JUDGEMENT: Final = (
    ("judge_cognitive_target", "string"),
    ("judge_quality", "int64"),
    ("judge_outcome", "string"),
    ("judge_rationale", "string"),
    ("judge_model", "string"),
    ("judge_rules", "string"),
)
"""The columns beside them where judgements are asked for: what another model said, null of what was not judged."""
JUDGE: Final = "judge_"


def flat(trajectory: Trajectory) -> Row:
    """The flat columns of a trajectory, and those that were asked for beside them."""
    row: Row = {column.name: column.value(trajectory) for column in COLUMNS}
    if trajectory.parent_session is not msgspec.UNSET:
        row["parent_session_id"] = trajectory.parent_session
    if trajectory.judgement is not msgspec.UNSET:
        row |= {name: getattr(trajectory.judgement, name.removeprefix(JUDGE), None) for name, _ in JUDGEMENT}
    return row
