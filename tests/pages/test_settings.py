"""`/settings`: what is in force, beside what is built in, with its unit; no secret."""

from pathlib import Path

import msgspec

from central_command.access.tokens import Scope
from central_command.settings.configuration import Settings
from central_command.web.pages.settings import HIDDEN, shown_settings
from tests.pages.page_client import pages_on
from tests.running_service import settings_with


def test_each_setting_is_there_with_what_is_built_in_and_its_unit() -> None:
    changed = settings_with(http={"port": 9_000, "body_bytes_max": 10_485_760, "tls_key": "/etc/secret.pem"})
    shown = {each.name: each for section in shown_settings(changed) for each in section.settings}
    assert len(shown) == sum(len(msgspec.structs.fields(getattr(changed, name))) for name in Settings.__struct_fields__)
    port, bytes_max = shown["http.port"], shown["http.body_bytes_max"]
    assert (port.value, port.default, port.is_set) == ("9000", "8443", True)
    assert (bytes_max.value, bytes_max.told, bytes_max.unit) == ("10,485,760", "10.0 MiB", "bytes")
    assert shown["access.browser_session_s"].told == "12 h"
    assert (shown["http.backlog"].is_set, shown["http.backlog"].told) == (False, "")
    assert shown["http.tls_key"].value == HIDDEN
    assert shown["http.requests_per_minute"].unit == "a minute"
    assert shown["viewer.live_poll_s"].about == (
        "Seconds between two looks at whether an open session has grown. Guards the processor."
    )
    assert all(each.about for each in shown.values()), "each says what it is for"
    assert {shown[f"sessions.opens_per_{who}_per_h"].unit for who in ("machine", "contributor")} == {"an hour"}


async def test_the_page_shows_every_section_and_no_secret(tmp_path: Path) -> None:
    settings = settings_with(http={"tls_key": "/etc/secret.pem"})
    async with pages_on(tmp_path, Scope.ADMIN, settings=settings) as browser:
        page = await browser.get("/settings")
        assert page.status == 200
        for section in Settings.__struct_fields__:
            assert f'id="{section}"' in page.text
        assert "secret.pem" not in page.text
        assert HIDDEN in page.said
        assert "PEM file with the certificate's private key, not encrypted." in page.said
