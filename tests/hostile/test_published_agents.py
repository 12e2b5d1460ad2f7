"""Clients that give up after 31 s, and count on, lose nothing to an outage, a restart, a full disk or each other."""

from pathlib import Path

import pytest

from tests.hostile.outages import Plan, run

pytestmark = pytest.mark.measured

STORED_SHARE_MIN = 0.99


def test_agents_behind_one_address_lose_nothing_to_a_restart_an_outage_and_a_full_disk(tmp_path: Path) -> None:
    """A smaller version of `python -m tests.hostile.outages`, under the limits as they are by default."""
    plan = Plan(agents=30, start_s=2.0, rest_s=2.0, outage_s=4.0, full_s=3.0, chunks=7, steps=10, pause_s=2.0)
    endured = run(tmp_path, plan, seed=1)
    assert endured.not_opened == 0, endured
    assert endured.stored_share >= STORED_SHARE_MIN, endured
    assert endured.closed == endured.credited == plan.agents, endured
