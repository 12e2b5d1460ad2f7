"""Many honest agents behind one address lose nothing, also with a forger among them."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import trio

from tests.hostile.neighbour import DURATION_S, LIMITED
from tests.hostile.published_agents import Connection, PublishedAgent, run_fleet
from tests.server_process import INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient, dumps

pytestmark = pytest.mark.measured

NAT = "127.0.0.7"
PAUSE_S = 1.0


def agents_behind_one_address(port: int, count: int) -> list[PublishedAgent]:
    """So many agents."""
    return [PublishedAgent(str(number), port, source=NAT, random=Random(number)) for number in range(count)]


async def work_of(agents: list[PublishedAgent]) -> None:
    """All of them start at once, send a chunk a second each, and end."""
    await run_fleet(agents, start_s=0.5, chunks=max(2, round(DURATION_S / PAUSE_S)), steps=5, pause_s=PAUSE_S)


def answers_to(agents: list[PublishedAgent]) -> Counter[str]:
    """What they were answered, all together."""
    return sum((Counter(agent.made.answers) for agent in agents), Counter())


async def test_a_hundred_agents_behind_one_address_lose_nothing(tmp_path: Path) -> None:
    """Every request is accepted at the first try."""
    with ServerProcess(tmp_path / "data", settings=LIMITED) as server:
        agents = agents_behind_one_address(server.port, 100)
        await work_of(agents)
    assert set(answers_to(agents)) == {"200"}
    assert all(agent.made.close_delivered and not agent.made.dropped for agent in agents)


@pytest.mark.parametrize("of_a_known_session", [False, True])
async def test_a_forger_behind_the_same_address_keeps_no_open_session_out(
    tmp_path: Path, *, of_a_known_session: bool
) -> None:
    """The forger uses up what is everybody's; the sessions that were open have their own, and lose nothing."""
    statuses: Counter[int] = Counter()
    with ServerProcess(tmp_path / "data", settings=LIMITED) as server:
        agents = agents_behind_one_address(server.port, 20)
        async with Connection(server.port, source=NAT) as forging, trio.open_nursery() as nursery:
            client = SigningClient("sess_forger")
            await forging.request("POST", OPEN, dumps(client.opening()).encode())
            body = client.chunk() if of_a_known_session else SigningClient("sess_nowhere").chunk()

            async def forge() -> None:
                while not all(agent.made.opened for agent in agents):  # noqa: ASYNC110 the agents tell nobody
                    await trio.sleep(0.01)
                while True:
                    statuses[(await forging.request("POST", INGEST, body))[0]] += 1
                    await trio.sleep(0.002)

            nursery.start_soon(forge)
            await work_of(agents)
            nursery.cancel_scope.cancel()
    assert set(answers_to(agents)) == {"200"}
    assert all(agent.made.close_delivered and not agent.made.dropped for agent in agents)
    assert statuses[429] > 50
    assert statuses[200] <= 100 + 64 + 2 * (DURATION_S + 5) * 100 / 60, "its own, the address's, and what came back"
