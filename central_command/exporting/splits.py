"""Splits that nothing leaks between, and that a trajectory stays in when the corpus grows.

A contributor is in one split, by a hash of their pseudonym under the seed, and so is all that they contribute: whatever
comes later changes nothing of that. A cluster of near copies is in the split of its first trajectory. A trajectory
whose contributor and whose cluster are in different splits is left out of all (`between_splits`).

Rejected: to make one of all contributors and clusters that have anything in common, and to give that to a split. A
single new trajectory can join two of them that were in different splits, and then one has to move.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from math import isclose
from typing import Final

import msgspec

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
SPLITS_MAX: Final = 16
BITS: Final = 64


class Split(msgspec.Struct, frozen=True):
    """A split: its name, and its share of contributors, above 0 and up to 1."""

    name: str
    share: float


def read_splits(text: str) -> tuple[Split, ...]:
    """Read `train=0.9,validation=0.05,test=0.05`; raises ValueError, whose text is one sentence."""
    found = []
    for each in text.split(","):
        name, _, share = each.strip().partition("=")
        try:
            split = Split(name, float(share))
        except ValueError:
            raise ValueError(f"--split holds {each.strip()!r}, which is no name=share.") from None
        if NAME.fullmatch(name) is None or not 0 < split.share <= 1:
            raise ValueError(f"--split holds {each.strip()!r}: a name is a-z, 0-9 and _, a share above 0 and up to 1.")
        found.append(split)
    if len({each.name for each in found}) != len(found) or len(found) > SPLITS_MAX:
        raise ValueError(f"--split names at most {SPLITS_MAX} splits, each once.")
    if not isclose(sum(each.share for each in found), 1.0, abs_tol=1e-6):
        raise ValueError("the shares of --split must add up to 1.")
    return tuple(found)


def split_of(contributor: str, splits: Sequence[Split], seed: int) -> int:
    """The place of the split that a contributor's pseudonym is in; anybody can compute it from an export."""
    if len(splits) == 1:
        return 0
    place = share_of(contributor, seed)
    reached = 0.0
    for number, split in enumerate(splits):
        reached += split.share
        if place < reached:
            return number
    return len(splits) - 1


def share_of(text: str, seed: int) -> float:
    """A number from 0 to 1 that a text has under a seed: evenly spread, and the same everywhere."""
    digest = blake2b(text.encode(), digest_size=BITS // 8, key=b"central-command/%d" % seed).digest()
    share: float = int.from_bytes(digest, "big") / 2**BITS
    return share
