"""A record of the corpus as typed, frozen objects: what docs/format.md ("corpus/") has, without anybody's id. Pure.

The contributor's id is a secret of theirs, so there is none here: `contributor` is a pseudonym, the same for all that
somebody contributed to one server, and empty where none was asked for. Times are UTC; texts hold no half of a surrogate
pair; integers fit 64 bits and numbers are finite (`central_command.corpus.reading` mends what does not).

What is a guess says so: `Step.token_count` is characters / 4 and no metric, `Credit` is points for a contributor and
no quality, `Derived` is what nobody said.
"""

from typing import Any, Final, Literal

import msgspec

from persistence.format import times

MILLISECONDS_FROM: Final = 10**12
"""A step's time of at least this is in milliseconds, a smaller one in seconds."""

StepType = Literal[
    "thought",
    "action",
    "observation",
    "correction",
    "resolution",
    "error",
    "coordination",
    "edit",
    "instruction",
    "clarification",
    "approval",
    "delegate",
    "yield",
]

FeedbackSignal = Literal["accepted", "modified", "rejected", "iterated"]
OutcomeStatus = Literal["SUCCESS", "CRASH", "KILLED", "SHUTDOWN"]


def real_time_s(timestamp: float, time_shift_s: float | None) -> float | None:
    """When a step was really taken, in seconds since the epoch, by the time that the client sent; None without one.

    To the microsecond: a difference of two such numbers is not exact below it.
    """
    if timestamp <= 0:
        return None
    seconds = timestamp / 1000 if timestamp >= MILLISECONDS_FROM else timestamp
    return times.to_microseconds_precision(seconds - (time_shift_s or 0.0))


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens that the agent reported of one model message; None where it said nothing.

    Input includes what was cached.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step. `step` is its number, from 1; `timestamp` is as the client sent it, see `Trajectory.time_of`.

    `source` says where a text came from when its type alone does not: `thinking`, `user`, `agent`, `program`,
    `command`, `queue`, `notification`, `attachment`, `hook`, `api`. `intent` is `interruption` where the user stopped
    the agent. `call_id` joins a call with what answered it. `arguments` that were no object are `{"value": ...}`.
    `token_count` is an estimate (characters / 4) and never to be shown as a count of tokens.
    """

    step: int
    type: StepType
    timestamp: float = 0.0
    content: str | None = None
    tool: str | None = None
    call_id: str | None = None
    arguments: dict[str, Any] | None = None
    source: str | None = None
    intent: str | None = None
    model: str | None = None
    is_error: bool | None = None
    truncated: bool | None = None
    usage: Usage | None = None
    token_count: int = 0

    @property
    def text(self) -> str:
        """What the step says; empty when it says nothing."""
        return self.content or ""

    @property
    def has_failed(self) -> bool:
        """Whether it is an error, or the answer of a call that went wrong."""
        return self.type == "error" or self.is_error is True

    @property
    def has_cut_arguments(self) -> bool:
        """Whether it is a call whose arguments are not those that the agent wrote: nothing to train on."""
        return self.type == "action" and self.truncated is True


class Feedback(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What somebody said of the session, not a guess. `target_step` is the number of steps at that time."""

    signal: FeedbackSignal
    timestamp: float = 0.0
    context: str | None = None
    target_step: int | None = None
    revision_rounds: int | None = None
    delta_summary: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The client's own report of how the session ended. Its counts are never trusted, and are not here."""

    status: OutcomeStatus
    duration_seconds: float | None = None
    user_interventions: int | None = None
    files_modified: int | None = None
    errors_encountered: int | None = None
    errors_recovered: int | None = None


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a verdict is what it is: a stable code, how often it was seen, and what it counted for."""

    code: str
    count: int = 0
    points: float = 0.0


class Target(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the session was for; `target` is None when nothing tells. `confidence` is 0 to 1."""

    target: str | None = None
    confidence: float = 0.0
    second: str | None = None
    reasons: tuple[Reason, ...] = ()


class ModelCheck(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whether provider, model and what the steps name fit together: `consistent`, `inconsistent` or `unknown`."""

    verdict: str = "unknown"
    reasons: tuple[Reason, ...] = ()


class Quality(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How good the session is as training data: `score` 0 to 100, tier A, B or C. Not what it was credited with."""

    score: int = 0
    tier: str = ""
    parts: tuple[Reason, ...] = ()
    training_eligible: bool = False
    training_exclusion_reasons: tuple[str, ...] = ()


class Derived(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the transcript lets one guess and nobody said; None where nothing tells."""

    outcome: str | None = None
    feedback: str | None = None
    reasons: tuple[Reason, ...] = ()


class Enrichment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All verdicts of curation, and the version of the rules that made them (docs/enrichment.md)."""

    rules_version: int = 0
    cognitive_target: Target = Target()
    model_verified: ModelCheck = ModelCheck()
    quality_assessment: Quality = Quality()
    derived: Derived = Derived()


class Field(msgspec.Struct, frozen=True, gc=False):
    """A field of work, with a confidence of 0 to 1."""

    domain: str
    confidence: float = 0.0


class Judgement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What another model said of the session when it was asked (docs/enrichment.md, "The judge"): an opinion.

    `model` is the one that was asked, by the version `rules` of the question; `quality` is 0 to 100.
    """

    cognitive_target: str
    quality: int
    outcome: str
    rationale: str
    model: str
    rules: str


class DomainTags(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The fields of work that the session is about, at most three, the surest first."""

    primary: Field | None = None
    secondary: Field | None = None
    tertiary: Field | None = None


class Consent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the contributor had agreed to when the record was made."""

    given: bool = False
    version: str | None = None
    source: str | None = None


class Gap(msgspec.Struct, frozen=True, gc=False):
    """`missing` envelopes were skipped just before the one with the sequence `before`."""

    before: int = 0
    missing: int = 1


class CopiedRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Steps that an earlier trajectory holds already: places in `Trajectory.steps` from 1, both included."""

    from_step: int
    to_step: int
    session_id: str = ""
    trajectory_id: str = ""


class Link(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A coordination with another agent: `step` and `answered_by` are numbers of steps."""

    step: int
    type: str
    partner: str | None = None
    direction: str = "unknown"
    answered_by: int | None = None


class Credit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the contributor was credited with: points, which say nothing of quality."""

    base_points: float = msgspec.field(default=0.0, name="basePoints")
    model_multiplier: float = msgspec.field(default=1.0, name="modelMultiplier")
    total_points: float = msgspec.field(default=0.0, name="totalPoints")


class Findings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What scrubbing replaced in the record: how often each placeholder was set, and how many texts were withheld."""

    findings: int = 0
    withheld: int = 0
    by_category: dict[str, int] = {}


class Duplicates(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """By what copies are told: `sha256` is equal for the same steps, `cluster` for near copies."""

    sha256: str = ""
    cluster: str = ""
    similarity: float = 0.0


class Lineage(msgspec.Struct, frozen=True, gc=False):
    """What joins a session with its parent and its sub-agents: digests, the same ones for the same contributor only.

    The `id` of a session is the `parent_id` of its sub-agents; None where the client did not say.
    """

    id: str | None = None
    parent_id: str | None = None


class Embedded(msgspec.Struct, frozen=True, gc=False):
    """A sub-agent's trajectory within its parent's; `at` is the place (from 0) of the parent's step that began it.

    None where no step of the parent is known to have done so.
    """

    trajectory: "Trajectory"
    at: int | None = None


class Trajectory(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One session of one agent, scrubbed, with all that is known of it.

    `started_at` and `ended_at` are real times as text (ISO 8601, UTC, microseconds), None without steps that have one.
    `agent_role` is `subagent` for one that another agent started; `agent_id` is the client's name for the agent, which
    sub-agents share with their parent. `subagents` is empty unless they were asked for. Of a trajectory that was split
    into `parts` pieces at turns this is number `part`, from 1. `tokens` is how many a tokeniser counted in its texts;
    None where none was asked. `parent_session` is the session whose sub-agent it is, None of one that is not within
    another; not set unless sub-agents were asked for. `judgement` is None of one that was not judged; not set unless
    judgements were asked for.
    """

    record_id: str
    trajectory_id: str
    session_id: str
    steps: tuple[Step, ...]
    provider: str
    model: str
    contributor: str = ""
    agent_role: str | None = None
    agent_id: str | None = None
    client_version: str | None = None
    continues_session: str | None = None
    rules: str = ""
    consent: Consent = Consent()
    started_at: str | None = None
    ended_at: str | None = None
    time_shift_s: float | None = None
    closed_by: str | None = None
    outcome: Outcome | None = None
    feedback: tuple[Feedback, ...] = ()
    credit: Credit = Credit()
    enrichment: Enrichment = Enrichment()
    domain_tags: DomainTags = DomainTags()
    scrubbed: Findings = Findings()
    duplicates: Duplicates = Duplicates()
    copied_steps: int = 0
    copied_from: tuple[CopiedRun, ...] = ()
    sequence_gaps: tuple[Gap, ...] = ()
    repeated_members: int = 0
    links: tuple[Link, ...] = ()
    lineage: Lineage = Lineage()
    unique_tools_used: tuple[str, ...] = ()
    subagents: tuple[Embedded, ...] = ()
    part: int = 1
    parts: int = 1
    tokens: int | None = None
    parent_session: str | msgspec.UnsetType | None = msgspec.UNSET
    judgement: Judgement | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def is_subagent(self) -> bool:
        """Whether another agent started it."""
        return self.agent_role == "subagent"

    @property
    def has_cut_arguments(self) -> bool:
        """Whether the arguments of any call were cut."""
        return any(step.has_cut_arguments for step in self.steps)

    @property
    def copied_places(self) -> frozenset[int]:
        """The places (from 0) of steps that an earlier trajectory holds already."""
        return frozenset(place for run in self.copied_from for place in range(run.from_step - 1, run.to_step))

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last step, by their real times; 0 without times."""
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return max(0.0, times.from_text(self.ended_at) - times.from_text(self.started_at))

    def seconds_of(self, step: Step) -> float | None:
        """When a step was really taken, in seconds since the epoch; None where the client knew no time."""
        return real_time_s(step.timestamp, self.time_shift_s)

    def time_of(self, step: Step) -> str | None:
        """When a step was really taken, as `2026-11-20T10:12:17.123456Z`, always with its fraction of a second."""
        seconds = self.seconds_of(step)
        return None if seconds is None else times.to_text(seconds)


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record of the intake: what an application's user shared (docs/protocol.md), beside the trajectories.

    `timestamp` is seconds since the epoch, UTC; `content` and `metadata` are scrubbed. `contributor` is the pseudonym
    of who shared it.
    """

    record_id: str
    session_id: str
    timestamp: float
    domain: str
    content_type: str
    content: str
    contributor: str = ""
    metadata: dict[str, Any] = {}
    consent_version: str = ""
    rules: str = ""
    scrubbed: Findings = Findings()
