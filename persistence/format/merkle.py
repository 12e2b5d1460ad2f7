"""The root of a Merkle tree over entries, as RFC 6962 (2.1) has it, entry by entry. Pure.

A leaf's hash is SHA-256 of a zero byte and the entry, a node's that of a one byte and the hashes of its two halves, of
which the left one is the largest complete tree that fits. In memory are as many hashes as the number of entries has
binary digits.
"""

import hashlib
from typing import Final

LEAF_PREFIX: Final = b"\x00"
NODE_PREFIX: Final = b"\x01"


class MerkleTree:
    """Takes entries in their order; `root` may be asked for at any time."""

    def __init__(self) -> None:
        self._complete: list[tuple[int, bytes]] = []
        """Complete trees that follow each other, each with its number of leaves: powers of two that descend."""

    def __len__(self) -> int:
        return sum(leaves for leaves, _ in self._complete)

    def __repr__(self) -> str:
        return f"<MerkleTree of {len(self)}>"

    def add(self, entry: bytes) -> None:
        """Take the next entry."""
        leaves, digest = 1, hashlib.sha256(LEAF_PREFIX + entry).digest()
        while self._complete and self._complete[-1][0] == leaves:
            before = self._complete.pop()
            leaves, digest = 2 * leaves, _node(before[1], digest)
        self._complete.append((leaves, digest))

    def root(self) -> str:
        """The root of what was taken, 64 hexadecimal digits; of nothing, the SHA-256 of no bytes."""
        if not self._complete:
            return hashlib.sha256().hexdigest()
        *before, (_, digest) = self._complete
        for _, left in reversed(before):
            digest = _node(left, digest)
        return digest.hex()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(NODE_PREFIX + left + right).digest()
