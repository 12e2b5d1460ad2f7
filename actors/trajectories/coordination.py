"""Coordination links: who worked with whom in a trajectory (contract, "TrajectoryStitcher", linkCoordination). Pure.

The contract names no members for it, and clients differ, so a partner is looked for under the names that agents'
tools use: first in the step itself, then in its `arguments`. The name also tells the direction, where it can.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from persistence.format import json_text

COORDINATION_TYPES = frozenset({"coordination", "delegate", "yield"})
PARTNER_CHARS_MAX = 100
"""As long as the contract lets an agent's id be; a longer text is no agent's name."""

_SENT_TO = ("to", "to_agent", "target", "target_agent", "recipient", "delegate_to")
_RECEIVED_FROM = ("from", "from_agent", "source_agent", "sender")
_PARTNER = ("partner", "partner_agent", "partner_id", "agent_id", "agent", "subagent_type")


class Direction(StrEnum):
    """Which way a coordination goes, seen from the agent whose trajectory it is."""

    SENT = "sent"
    RECEIVED = "received"
    UNKNOWN = "unknown"


class CoordinationLink(msgspec.Struct, frozen=True, kw_only=True):
    """One coordination step: `step` is its number, `partner` the other agent's name, None when the step names none.

    `answered_by` is the number of the first later link with the same partner in the other direction.
    """

    step: int
    type: str
    partner: str | None
    direction: Direction
    answered_by: int | None = None


def link(step: bytes) -> CoordinationLink | None:
    """The link that a step's JSON text makes; None for a step that coordinates nothing.

    A delegate or a yield hands work on, so it counts as sent unless its members say otherwise.
    """
    facts = json_text.decode(_STEP, step)
    if facts.type not in COORDINATION_TYPES:
        return None
    members = json_text.decode(_RAW_MEMBERS, step)
    partner, direction = _partner(members)
    arguments = bytes(members.get("arguments", b""))
    if partner is None and arguments.startswith(b"{"):
        partner, direction = _partner(json_text.decode(_RAW_MEMBERS, arguments))
    if direction is Direction.UNKNOWN and facts.type in ("delegate", "yield"):
        direction = Direction.SENT
    return CoordinationLink(step=facts.step, type=facts.type, partner=partner, direction=direction)


def answered(links: Sequence[CoordinationLink]) -> tuple[CoordinationLink, ...]:
    """The links of a trajectory, in its order, each with what answers it.

    Two links of the same direction may have the same answer.
    """
    found = list(links)
    # Backwards, so that the nearest later link of either direction is always at hand.
    latest: dict[tuple[str, Direction], int] = {}
    for index in range(len(found) - 1, -1, -1):
        each = found[index]
        if each.partner is None or each.direction is Direction.UNKNOWN:
            continue
        other = Direction.RECEIVED if each.direction is Direction.SENT else Direction.SENT
        found[index] = msgspec.structs.replace(each, answered_by=latest.get((each.partner, other)))
        latest[each.partner, each.direction] = each.step
    return tuple(found)


class _Step(msgspec.Struct, frozen=True):
    step: int
    type: str


_STEP = msgspec.json.Decoder(_Step)
_TEXT = msgspec.json.Decoder(str)
# The schema does not name these members, so they may be anything, even what cannot be decoded, such as 1e400.
_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _partner(members: dict[str, msgspec.Raw]) -> tuple[str | None, Direction]:
    for names, direction in (
        (_SENT_TO, Direction.SENT),
        (_RECEIVED_FROM, Direction.RECEIVED),
        (_PARTNER, Direction.UNKNOWN),
    ):
        for name in names:
            value = bytes(members.get(name, b""))
            text = json_text.decode(_TEXT, value) if value.startswith(b'"') else ""
            if 0 < len(text) <= PARTNER_CHARS_MAX:
                return text, direction
    return None, Direction.UNKNOWN
