"""Rooms and what is in them: each is in the order of imports, and nothing imports itself by way of others."""

import ast
import tomllib
from graphlib import CycleError, TopologicalSorter

import grimp

from tests.server_process import REPOSITORY

PACKAGES = ("central_command", "actors", "persistence")
ROOMS = sorted(path.parent for package in PACKAGES for path in (REPOSITORY / package).rglob("__init__.py"))


def test_every_folder_of_rooms_has_its_order() -> None:
    """Wherever rooms lie beside each other, a contract names all of them, so none is added without its place."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    ordered = {
        container for contract in contracts if contract.get("exhaustive") for container in contract["containers"]
    }
    houses = {room.parent for room in ROOMS if room.parent in ROOMS}
    assert {".".join(house.relative_to(REPOSITORY).parts) for house in houses} <= ordered


def test_every_folder_with_code_is_a_room_that_says_what_belongs_in_it() -> None:
    """In its `__init__.py`: two sentences at least, for what belongs elsewhere has to be said, too."""
    folders = {path.parent for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}
    assert folders == {*ROOMS}
    said = {room: ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or "" for room in ROOMS}
    assert [
        str(room) for room, text in said.items() if text.count(". ") + text.count(".\n") + text.count("; ") < 1
    ] == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Also not from within a function, but for what only a type checker reads."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 700
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {error.args[1]}") from error
