"""What the package says of each setting is what the file at the top of the repository says."""

import tomllib
from importlib.resources import files
from pathlib import Path

from central_command.settings.configuration import SECTIONS, setting_types
from central_command.settings.explanations import explained, explanations

REPOSITORY = Path(__file__).parents[3]


def test_the_file_of_the_package_is_that_of_the_repository() -> None:
    shipped = files("central_command.settings").joinpath("config.toml")
    assert shipped.read_bytes() == (REPOSITORY / "config.toml").read_bytes()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    data = project["tool"]["setuptools"]["package-data"]["central_command"]
    assert "settings/config.toml" in data, "it is in what is installed, too"


def test_every_setting_and_nothing_else_is_explained() -> None:
    names = {f"{section}.{key}" for section, kind in SECTIONS.items() for key in setting_types(kind)}
    assert explanations().keys() == names
    assert [name for name, sentences in explanations().items() if not sentences.endswith((".", ")", ":"))] == []


def test_a_comment_belongs_to_the_setting_right_below_it() -> None:
    text = """# About the file.

[http]
# About the section.

# Seconds,
# and more.
wait_s = 1
port = 2
# Not set.
# name = "x"
[log]
# Lines.
lines = [
  # "no setting",
]
"""
    assert explained(text) == {
        "http.wait_s": "Seconds, and more.",
        "http.port": "",
        "http.name": "Not set.",
        "log.lines": "Lines.",
    }
