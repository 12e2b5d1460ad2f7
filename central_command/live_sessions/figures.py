"""The figures of one session, as the API answers them: no text of anybody but what its title and summary say."""

import msgspec

from central_command.live_sessions.counting import FeedbackFigures


class Tokens(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What agents reported of all messages: `input` includes what was read from and written to a cache.

    `total` is input and output.
    """

    input: int
    output: int
    cache_read: int
    cache_write: int
    total: int


class SessionMetrics(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`tokens` is null where what they were counted from is kept no longer. Times are UTC."""

    tokens: Tokens | None
    model_switches: int
    message_count: int
    last_activity_at: str


class SessionFigures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session as it is now. `state` is `active`, `closing` (it has ended, its trajectory is not written) or `closed`.

    `channels` are the sources of its prompts. `duration_ms` lies between the first and the last step, by their real
    times. `score` is the trajectory's; a session that has none has no such member. `title` and `summary` are of its
    record in the corpus, scrubbed, once that has them.
    `continues` and `continued_by` are sessions of the same contributor.
    """

    id: str
    provider: str
    model_id: str
    agent_name: str | msgspec.UnsetType = msgspec.UNSET
    title: str | msgspec.UnsetType = msgspec.UNSET
    summary: str | msgspec.UnsetType = msgspec.UNSET
    created_at: str
    prompt_count: int
    channels: list[str]
    duration_ms: int
    metrics: SessionMetrics
    state: str
    chunks: int
    steps: int
    score: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    feedback: list[FeedbackFigures]
    continues: str | None = None
    continued_by: list[str] = []
