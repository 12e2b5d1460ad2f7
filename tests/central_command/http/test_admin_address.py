"""With an address of its own, administration is there alone, and the contract's endpoints are never there."""

import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.envelopes.settings import SchemaSettings
from central_command.http.app import create_app
from central_command.http.connections.descriptors import RESERVED, fitting
from central_command.http.settings import HttpSettings, Side
from central_command.running import _sides
from tests.running_service import running
from tests.server_process import ServerProcess, free_port
from tests.submitted_texts import leave_token

BOTH = {"/health", "/ready", "/livez", "/readyz", "/openapi.json"}
ADMINISTRATION = re.compile(r"/api/.*|/sign-(?:in|out)(?:/.*)?|/metrics")


async def test_each_route_is_on_one_of_the_addresses(tmp_path: Path) -> None:
    async with running(tmp_path) as run:

        def routes(side: Side) -> set[str]:
            app: Any = create_app(
                run.service,
                HttpSettings(),
                schema=SchemaSettings(),
                clock=run.clock,
                intake=run.service.intake,
                access=run.service.access,
                side=side,
            )
            return {str(rule) for rule in app.url_map.iter_rules()}

        public, administration = routes(Side.PUBLIC), routes(Side.ADMINISTRATION)
        assert public & administration == BOTH
        assert public | administration == routes(Side.ALL)
        assert all(ADMINISTRATION.fullmatch(path) for path in administration - BOTH)
        assert not any(ADMINISTRATION.fullmatch(path) for path in public)


def test_without_a_port_for_it_everything_is_on_one_address() -> None:
    assert _sides(HttpSettings()) == [(Side.ALL, HttpSettings())]
    apart = HttpSettings(port=1, admin_port=2, admin_host="::1")
    assert [(side, http.host, http.port) for side, http in _sides(apart)] == [
        (Side.PUBLIC, "0.0.0.0", 1),
        (Side.ADMINISTRATION, "::1", 2),
    ]
    assert apart.browsers_url == "http://[::1]:2"


@pytest.mark.parametrize(("port", "connections"), [(None, 872), (2, 616)])
def test_connections_of_both_leave_enough_files(port: int | None, connections: int) -> None:
    found = fitting(HttpSettings(admin_port=port), lambda wanted: min(wanted, 1_000))
    assert found.connections_max == connections
    assert RESERVED == 128


def test_both_are_served_by_one_process_and_stop_with_it(tmp_path: Path) -> None:
    port = free_port()
    settings = {"CENTRAL_COMMAND__HTTP__ADMIN_PORT": str(port)}
    with ServerProcess(tmp_path, settings=settings) as server:
        token, _ = leave_token(tmp_path, "admin", now=time.time())
        headers = {"Authorization": f"Bearer {token}"}
        apart = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers)
        public = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers)
        with apart, public:
            for path in ("/api/access/tokens", "/api/admin/audit", "/sign-in"):
                assert (apart.get(path).status_code, public.get(path).status_code) == (200, 404)
            for path in ("/v1/sessions/open", "/v1/training/ingest", "/v1/training/ingest/batch", "/v1/embed"):
                assert (
                    apart.post(path, content=b"{}").status_code,
                    public.post(path, content=b"{}").status_code != 404,
                ) == (
                    404,
                    True,
                )
            assert (apart.get("/health").status_code, public.get("/health").status_code) == (200, 200)
        assert server.terminate() == 0
