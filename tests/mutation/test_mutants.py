"""Mutants are small changes that still can be compiled, and each is tried with the tests that come by its line."""

import ast
from pathlib import Path

from tests.mutation.choice import SECONDS_MAX, chosen
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.watching import WatchedTest

SOURCE = b'''"""A module."""


def first(count: int) -> str:
    """Text for people: 1 < 2."""
    if count <= 1:
        return ""
    log.info("%d", count)
    assert_never(count)
    return text(
        count
        + 1,
    )
'''
PATH = "room/module.py"


def mutants(tmp_path: Path) -> list[Mutant]:
    path = tmp_path / PATH
    path.parent.mkdir()
    path.write_bytes(SOURCE)
    return mutants_of(path, tmp_path)


def test_each_mutant_is_another_program_and_texts_for_people_stay(tmp_path: Path) -> None:
    found = mutants(tmp_path)
    programs = {ast.dump(ast.parse(mutant.applied(SOURCE))) for mutant in found}
    assert len(programs) == len(found) == 7
    assert ast.dump(ast.parse(SOURCE)) not in programs
    assert {mutant.line for mutant in found} == {6, 7, 11, 12}


def test_the_tests_that_come_by_the_line_are_tried_those_of_the_room_first_and_the_quickest() -> None:
    """Where no test comes by the very line, those of the nearest line above it."""
    watched = {
        "tests/room/slow": WatchedTest(2.0, {PATH: {6, 9}}),
        "tests/room/quick": WatchedTest(1.0, {PATH: {6}}),
        "tests/other/quickest": WatchedTest(0.5, {PATH: {6}}),
        "tests/other/endless": WatchedTest(SECONDS_MAX, {PATH: {6}}),
        "tests/room/elsewhere": WatchedTest(0.1, {PATH: {1}, "other.py": {6}}),
    }
    at = SOURCE.index(b"<= 1")
    condition = Mutant(PATH, 6, at, at + 2, "<", "<= is <")
    assert chosen(condition, SOURCE, watched, ["tests/room"]) == (
        ["tests/room/quick", "tests/room/slow", "tests/other/quickest"],
        3.5,
    )
    at = SOURCE.index(b"+ 1")
    within = Mutant(PATH, 12, at, at + 1, "-", "+ is -")
    assert chosen(within, SOURCE, watched, ["tests/room"]) == (["tests/room/slow"], 2.0)
