"""Coordination links: partner, direction and answer, from whatever members a client uses."""

import json
from typing import Any

import pytest

from actors.trajectories.coordination import CoordinationLink, Direction, answered, link


def _steps(*steps: dict[str, Any]) -> list[bytes]:
    return [json.dumps({"step": number, **step}).encode() for number, step in enumerate(steps, 1)]


def link_coordination(steps: list[bytes]) -> tuple[CoordinationLink, ...]:
    """The links of a trajectory with these steps."""
    return answered([found for step in steps if (found := link(step)) is not None])


def test_only_coordination_delegate_and_yield_are_linked() -> None:
    """Other steps are passed over, whatever they name."""
    types = ("thought", "coordination", "action", "delegate", "yield", "error")
    links = link_coordination(_steps(*({"type": type_, "to": "backend-1"} for type_ in types)))
    assert [(each.step, each.type) for each in links] == [(2, "coordination"), (4, "delegate"), (5, "yield")]
    assert link_coordination([]) == ()


@pytest.mark.parametrize(
    ("members", "partner", "direction"),
    [
        ({"to": "a"}, "a", Direction.SENT),
        ({"target_agent": "a"}, "a", Direction.SENT),
        ({"from": "a"}, "a", Direction.RECEIVED),
        ({"partner": "a"}, "a", Direction.UNKNOWN),
        ({"agent_id": "a", "to": "b"}, "b", Direction.SENT),
        ({"arguments": {"to": "a"}}, "a", Direction.SENT),
        ({"partner": "a", "arguments": {"to": "b"}}, "a", Direction.UNKNOWN),
        ({"to": "", "from": "x" * 101, "partner": 5, "arguments": ["to"]}, None, Direction.UNKNOWN),
        ({"to": "cut \ud83d"}, "cut \ufffd", Direction.SENT),
        ({}, None, Direction.UNKNOWN),
    ],
)
def test_the_partner_is_found_where_clients_name_it(
    members: dict[str, Any], partner: str | None, direction: Direction
) -> None:
    """In the step before its arguments; a name that tells the direction before one that does not."""
    (found,) = link_coordination(_steps({"type": "coordination", **members}))
    assert (found.partner, found.direction, found.answered_by) == (partner, direction, None)


@pytest.mark.parametrize("type_", ["delegate", "yield"])
def test_a_delegate_and_a_yield_hand_on_unless_they_say_otherwise(type_: str) -> None:
    """Without a member that tells the direction they count as sent."""
    neutral, explicit = link_coordination(_steps({"type": type_, "agent_id": "a"}, {"type": type_, "from": "a"}))
    assert (neutral.direction, explicit.direction) == (Direction.SENT, Direction.RECEIVED)


def test_a_link_is_answered_by_the_next_one_back_from_the_same_partner() -> None:
    """Not by another partner's, not by an earlier one, and two may have the same answer."""
    links = link_coordination(
        _steps(
            {"type": "coordination", "from": "a"},
            {"type": "delegate", "to": "a"},
            {"type": "delegate", "to": "a"},
            {"type": "coordination", "from": "b"},
            {"type": "coordination", "partner": "a"},
            {"type": "coordination", "from": "a"},
            {"type": "coordination", "from": "a"},
        )
    )
    assert [each.answered_by for each in links] == [2, 6, 6, None, None, None, None]


def test_what_cannot_be_decoded_does_not_hinder() -> None:
    """A number that no double holds, anywhere in a step that the schema let pass, is passed over."""
    step = b'{"step":1,"type":"delegate","to":1e400,"x":1e400,"arguments":{"to":[1e400],"agent":"a"}}'
    (found,) = link_coordination([step])
    assert (found.partner, found.direction) == ("a", Direction.SENT)
