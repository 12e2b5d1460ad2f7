"""docs/architecture.md is true of the tree: what it names is there, and no room is left out."""

import re

from tests.server_process import REPOSITORY

PACKAGES = ("central_command", "actors", "persistence")
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
NAMED = set(re.findall(rf"`((?:{'|'.join(PACKAGES)}|docs)/[\w./]*)`", PAGE))


def test_what_the_page_names_is_there() -> None:
    """A file that is moved takes its line on the page with it."""
    assert len(NAMED) > 40
    assert [path for path in sorted(NAMED) if not (REPOSITORY / path).exists()] == []


def test_each_room_has_its_row() -> None:
    """Whatever lies at the top of a package is described by its own name; `http` and `client`, room by room."""
    tops = [path for package in PACKAGES for path in (REPOSITORY / package).iterdir() if path.stem[0] not in "_."]
    rooms = [path for path in tops if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = [f"{path.relative_to(REPOSITORY)}{'/' * path.is_dir()}" for path in sorted(rooms)]
    rows = " ".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    inner = ("central_command/http/", "central_command/client/")
    assert len(names) > 40
    assert [name for name in names if f"`{name}`" not in rows and name not in inner] == []


def test_no_room_is_left_out() -> None:
    """Every folder with code is on the page, by its own name or by that of a file in it."""
    rooms = {path.parent for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}
    names = [f"{room.relative_to(REPOSITORY)}/" for room in sorted(rooms)]
    assert [name for name in names if not any(path.startswith(name) for path in NAMED)] == []
