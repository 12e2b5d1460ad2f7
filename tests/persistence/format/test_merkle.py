"""The root is the one of RFC 6962, by its definition and by the vectors that Certificate Transparency publishes."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.format.merkle import MerkleTree

ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""Of certificate-transparency's reference tests (merkletree/merkle_tree_test.cc)."""
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def by_definition(entries: Sequence[bytes]) -> bytes:
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + by_definition(entries[:split]) + by_definition(entries[split:])).digest()


@pytest.mark.parametrize("count", range(1, len(ROOTS) + 1))
def test_the_published_roots(count: int) -> None:
    tree = MerkleTree()
    for entry in ENTRIES[:count]:
        tree.add(entry)
    assert tree.root() == ROOTS[count - 1]


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_of_any_entries_it_is_that_of_the_definition(entries: list[bytes]) -> None:
    tree = MerkleTree()
    for entry in entries:
        tree.add(entry)
    assert (tree.root(), len(tree)) == (by_definition(entries).hex(), len(entries))
