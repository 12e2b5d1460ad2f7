"""`/exports`: one is asked for by a form, watched, fetched and removed from pages, with the scope for exports."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from central_command.access.tokens import Scope
from central_command.exporting.asked import read_asked
from central_command.http.endpoints.exports import ExportState
from central_command.web.pages import exports
from central_command.web.pages.exports import FOR, OFFERED, members_of
from tests.pages.operated import operated

ASKED: dict[str, Any] = {
    "format": ["messages", "jsonl"],
    "model": "claude-*, gpt-5",
    "after": "2026-11-20",
    "tier": ["A", "B"],
    "training_eligible": "on",
    "dedup": "exact",
    "limit": "10",
    "split": "train=0.9,test=0.1",
}


def polled(text: str) -> bool:
    return 'hx-trigger="every 2s"' in text


def test_a_form_asks_for_what_the_api_is_asked_for() -> None:
    fields = {name: [value] if isinstance(value, str) else value for name, value in ASKED.items()}
    members = members_of(fields)
    assert members == {
        "formats": ["messages", "jsonl"],
        "selection": {
            "model": ["claude-*", "gpt-5"],
            "after": "2026-11-20",
            "tier": ["A", "B"],
            "training_eligible": True,
            "dedup": "exact",
            "limit": 10,
        },
        "options": {"split": "train=0.9,test=0.1"},
    }
    assert read_asked(members).model == ("claude-*", "gpt-5")


@pytest.mark.parametrize("name", OFFERED)
def test_every_value_that_is_offered_can_be_asked_for(name: str) -> None:
    assert OFFERED[name]
    for value in OFFERED[name]:
        asked = read_asked(members_of({"format": ["messages"], name: [value]}))
        assert value in str(msgspec.to_builtins(asked))


def test_every_format_has_words_for_what_it_is_for() -> None:
    from central_command.exporting.formats.table import FORMATS  # noqa: PLC0415

    assert FOR.keys() == FORMATS.keys()


async def test_an_empty_server_offers_the_form_and_the_command(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        page = await server.browser.get("/exports")
        assert page.status == 200
        assert "Nothing was exported yet." in page.said
        assert '<details class="panel fold" id="new" open>' in page.text
        assert 'value="sharegpt"' in page.text


async def test_an_export_is_asked_for_watched_and_removed_and_both_are_noted(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        answer = await server.browser.post("/exports", **ASKED)
        assert answer.status == 303, answer.said
        page = await server.browser.get(answer.headers["Location"])
        (export,) = server.exports.reports()
        assert "it begins when those before it are done" in page.said
        assert polled(page.text)
        assert "--model=gpt-5" in page.said
        assert f'href="/exports/{export.id}"' in (await server.browser.get("/exports")).text
        state = await server.browser.get(f"/exports/{export.id}/state")
        assert polled(state.text)
        removed = await server.browser.post(f"/exports/{export.id}/remove")
        assert "all of its files are removed" in (await server.browser.get(removed.headers["Location"])).said
        gone = await server.browser.get(f"/exports/{export.id}/state")
        assert (gone.status, polled(gone.text)) == (200, False)
        assert await server.noted() == [("export_asked", export.id), ("export_deleted", export.id)]


async def test_what_cannot_be_exported_is_said_above_the_form_which_keeps_what_was_filled_in(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        page = await server.browser.post("/exports", format="messages", model="gpt-<5>", limit="no")
        assert page.status == 400
        assert "limit is 'no'; it must be a whole number" in page.said
        assert 'value="gpt-&lt;5&gt;"' in page.text
        assert 'value="messages" checked' in page.text
        page = await server.browser.post("/exports", model="gpt-5")
        assert "Choose at least one format." in page.said
        assert server.exports.reports() == []
        assert await server.noted() == []


async def test_files_of_one_that_is_done_are_named_with_their_sizes_and_fetched(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        await server.browser.post("/exports", **ASKED)
        (export,) = server.exports.reports()
        kept = server.exports._kept[export.id]
        server.exports._kept[export.id] = kept.moved(
            ExportState.DONE, rows=2, bytes=5_000, seen=3, kept=2, left_out={"near_copy": 1}
        )
        folder = server.exports._folder / export.folder / "messages"
        folder.mkdir(parents=True)
        (folder / "train.jsonl").write_bytes(b"x" * 2_048)
        page = await server.browser.get(f"/exports/{export.id}")
        assert not polled(page.text)
        for text in ("2 kept of 3", "near_copy", "messages/train.jsonl", "2.0 KiB"):
            assert text in page.said
        path = f"/api/exports/{export.id}/files/messages/train.jsonl"
        assert f'href="{path}"' in page.text
        assert (await server.browser.get_bytes(path)).status == 404, "this one's manifest names none"


async def test_what_was_asked_for_is_said_until_it_is_done(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        answer = await server.browser.post("/exports", **ASKED)
        [polled_at] = re.findall(r'hx-get="([^"]+)"', (await server.browser.get(answer.headers["Location"])).text)
        assert "The export was asked for" in (await server.browser.get(polled_at)).text
        (export,) = server.exports.reports()
        server.exports._kept[export.id] = server.exports._kept[export.id].moved(ExportState.DONE, rows=1, kept=1)
        for path in (polled_at, answer.headers["Location"]):
            assert "The export was asked for" not in (await server.browser.get(path)).text


@pytest.mark.parametrize(("name", "what"), [("dpo", "A pair comes of a correction"), ("kto", "A label comes of")])
async def test_a_format_without_a_row_says_what_makes_one(tmp_path: Path, name: str, what: str) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        await server.browser.post("/exports", format=[name, "messages"])
        (export,) = server.exports.reports()
        path = f"/exports/{export.id}"
        assert what not in (await server.browser.get(path)).said, "it is not made yet"
        for kept, is_said in ((0, False), (4, True)):
            moved = server.exports._kept[export.id].moved(ExportState.DONE, rows=0, seen=4, kept=kept)
            server.exports._kept[export.id] = moved
            assert (what in (await server.browser.get(path)).said) == is_said
        folder = server.exports._folder / export.folder / name
        folder.mkdir(parents=True)
        (folder / "train.jsonl").write_bytes(b"{}")
        assert what not in (await server.browser.get(path)).said


async def test_a_format_that_the_server_lacks_a_package_for_cannot_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        for spec, attributes in ((object(), " checked"), (None, " disabled")):
            monkeypatch.setattr(exports, "find_spec", lambda _name, spec=spec: spec)
            page = await server.browser.get("/exports?format=parquet&format=jsonl")
            assert f'value="parquet"{attributes}>' in page.text
            assert 'value="jsonl" checked>' in page.text
            assert ("needs pyarrow" in page.said) == (spec is None)


async def test_only_who_may_export_sees_exports(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.READ, Scope.ADMIN) as server:
        for answer in (
            await server.browser.get("/exports"),
            await server.browser.get("/exports/exp_1"),
            await server.browser.get("/exports/exp_1/state"),
            await server.browser.post("/exports", **ASKED),
            await server.browser.post("/exports/exp_1/remove"),
        ):
            assert answer.status == 403
    async with operated(tmp_path / "other", Scope.EXPORT) as server:
        assert (await server.browser.get("/exports/exp_1")).status == 404
        assert (await server.browser.post("/exports/exp_1/remove")).status == 404
