"""What pages load: what others have written is as their packages have it, the rest follows the rules of pages."""

import hashlib
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from central_command.web.bundle import BYTES_MAX, Bundle, Vendored, vendored
from central_command.web.rendering import Renderer
from tests.server_process import REPOSITORY

ASSETS = REPOSITORY / "central_command/web/assets"
TEMPLATES = REPOSITORY / "central_command/web/templates"
OF_TESTS = REPOSITORY / "tests/pages"


def test_files_of_others_are_as_the_list_says() -> None:
    listed = msgspec.convert(tomllib.loads((OF_TESTS / "vendored.toml").read_text())["files"], list[Vendored])
    for folder, files in ((ASSETS, vendored()), (OF_TESTS, listed)):
        for each in files:
            assert hashlib.sha256((folder / each.name).read_bytes()).hexdigest() == each.sha256, each.name
    names = {each.name for each in vendored()}
    unlisted = {path.name for path in ASSETS.iterdir() if ".min." in path.name} - names
    assert unlisted == set()


def test_the_path_of_a_file_changes_with_any_of_them_and_there_is_a_bound(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a{}")
    (tmp_path / "b.js").write_text("1")
    (tmp_path / "notes.txt").write_text("not served")
    first = Bundle(tmp_path)
    assert first.names() == ["a.css", "b.js"]
    assert first.path("a.css") == Bundle(tmp_path).path("a.css")
    with pytest.raises(KeyError):
        first.path("notes.txt")
    (tmp_path / "b.js").write_text("2")
    assert Bundle(tmp_path).path("a.css") != first.path("a.css")
    (tmp_path / "b.js").write_text("x" * BYTES_MAX)
    with pytest.raises(ValueError, match="larger than 250,000 bytes"):
        Bundle(tmp_path)


def test_every_template_can_be_read_and_every_icon_that_is_named_is_in_the_sprite() -> None:
    Renderer(Bundle())
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (ASSETS / "icons.svg").read_text()))
    for path in sorted(TEMPLATES.glob("*.html")):
        for name in re.findall(r'icon\("([^"]+)"\)|icon_name="([^"]+)"', path.read_text()):
            assert {*name} & sprite, (path.name, name)


def test_nothing_of_ours_asks_elsewhere_or_stands_in_a_page_as_style_or_script() -> None:
    ours = [path for path in ASSETS.iterdir() if path.suffix in {".js", ".css"} and ".min." not in path.name]
    assert {"app.js", "viewer.js", "app.css"} <= {path.name for path in ours}
    for path in ours:
        assert not re.search(
            r"https?://|\binnerHTML\b|\binsertAdjacentHTML\b|\beval\b|\bnew Function\b", path.read_text()
        ), path.name
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text()
        assert not re.search(r"""\sstyle=|<style|\son[a-z]+=|\|\s*safe|hx-on|javascript:|src="http""", text), path.name
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path.name


def test_no_text_of_the_style_is_too_small_and_each_colour_has_both_themes() -> None:
    style = (ASSETS / "app.css").read_text()
    tokens = dict(re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), #[0-9a-f]{6}\)", style))
    dark = dict(re.findall(r"--([a-z0-9-]+): light-dark\(#[0-9a-f]{6}, (#[0-9a-f]{6})\)", style))
    assert tokens.keys() == dark.keys()
    for colours in (tokens, dark):
        for text, grounds in (
            ("text", ("page", "surface", "sunken", "hover", "mark")),
            ("muted", ("page", "surface", "sunken", "hover")),
            ("accent", ("page", "surface", "hover", "accent-soft")),
            *((tone, ("surface", f"{tone}-soft")) for tone in ("good", "warn", "bad", "info")),
        ):
            for ground in grounds:
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast("#ffffff", colours["primary"]) >= 4.5
        for chart in range(1, 5):
            assert contrast(colours[f"chart-{chart}"], colours["surface"]) >= 3


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio"."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
