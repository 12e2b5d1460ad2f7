"""What was asked for by name: a member that does not fit is named, in a sentence, whatever stands in it."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from central_command.corpus.asked_members import read_members


class Order(StrEnum):
    UP = "up"
    DOWN = "down"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=9)] | None = None
    seed: int = 0
    mode: Literal["fast", "slow"] = "fast"
    order: Order = Order.UP
    names: tuple[str, ...] = ()
    is_new: bool = False
    title: str = ""

    def __post_init__(self) -> None:
        if self.title == "none":
            raise ValueError("title is 'none', which says nothing.")


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"count": 0}, "count is 0; it must be a whole number from 1 to 9."),
        ({"count": "x"}, "count is 'x'; it must be a whole number from 1 to 9."),
        ({"count": 10**5_000}, "count is too large a number; it must be a whole number from 1 to 9."),
        ({"seed": 1.5}, "seed must be a whole number."),
        ({"mode": "warp"}, "mode is 'warp'; it must be one of fast, slow."),
        ({"order": "left"}, "order is 'left'; it must be one of up, down."),
        ({"names": "x"}, "names is 'x'; it must be a list of texts."),
        ({"names": [1]}, "names must be a list of texts."),
        ({"is_new": "no"}, "is_new is 'no'; it must be true or false."),
        ({"title": True}, "title is true; it must be a text."),
        ({"title": None}, "title must be a text."),
        ({"mode": "w" * 500}, f"mode is '{'w' * 59}…; it must be one of fast, slow."),
        ({"title": "none"}, "title is 'none', which says nothing."),
    ],
)
def test_a_member_that_does_not_fit_is_named_in_a_sentence(members: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\A") as found:
        read_members(members, Wish)
    assert str(found.value) == sentence


def test_of_a_query_string_texts_are_numbers_and_members_have_its_names() -> None:
    assert read_members({"count": "7", "is_new": "true"}, Wish, of_texts=True) == Wish(count=7, is_new=True)
    with pytest.raises(ValueError, match="how-many is '11'; it must be"):
        read_members({"count": "11"}, Wish, names={"count": "how-many"}, of_texts=True)
