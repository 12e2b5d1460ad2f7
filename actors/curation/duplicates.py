"""Trajectories that are the same, or nearly the same. Pure, and the same on every machine and in every process.

*The same*: the SHA-256 of all steps as `persistence.format.step_runs` compares them (type, tool, content and arguments,
without white space and ids of calls; no times and counts).

*Nearly the same*: a MinHash signature of the shingles of these texts. A step's text is cut into short words (`WORD`);
three of them in a row are a shingle, and the shingles of all steps are one set. The share of equal values of two
signatures estimates how many of their shingles two trajectories share (Jaccard), with a standard deviation of at most
0.045. It is one permutation hashing (Li, Owen and Zhang 2012) with optimal densification (Shrivastava 2017): each
shingle is hashed once for all 128 values, where classical MinHash hashes it 128 times. Every step counts with its first
and its last 2 KiB, and no more than 2^20 shingles are looked at, so time is bounded whatever a session holds.

*Clusters*: a signature is cut into 32 bands of 4 values. Trajectories that have a band in common are compared: with
Jaccard 0.7 they have one in 9,998 of 10,000 cases, with 0.2 in 499. A trajectory joins the cluster of the most similar
one, or begins its own; clusters never merge, so what was assigned once stays. Whoever calls this keeps the bands.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b, sha256
from itertools import islice
from typing import Final

import msgspec

from persistence.format.step_runs import StepTexts, compared_texts

SIGNATURE_VERSION: Final = 1
"""Raised when the same steps would get another signature: those of different versions cannot be compared."""

VALUES: Final = 128
BANDS: Final = 32
ROWS: Final = VALUES // BANDS
SHINGLE_WORDS: Final = 3
STEP_END_BYTES: Final = 2_048
"""Of each end of a step's text; what lies between counts only for whether two are the same."""
SHINGLES_MAX: Final = 2**20
"""Shingles of one trajectory that are hashed; a step is some hundred."""
SEED: Final = b"central-command/1"
"""Part of the format: with another one, no signature would equal an earlier one."""

HASH_BYTES: Final = 8
VALUE_BITS: Final = 32
NO_SHINGLE: Final = 2**VALUE_BITS - 1
WORD: Final = re.compile(
    rb"[0-9A-DF-RT-Za-df-rt-z_\x90-\xff]++[ESes\x80-\x8f]?+|[ESes\x80-\x8f]|[^0-9A-Za-z_\x80-\xff]"
)
"""Words end behind an e or an s, about every fifth letter, because there is no white space: so a change moves none of
the words behind it. In other scripts a quarter of the bytes end one."""


class Signature(msgspec.Struct, frozen=True):
    """By what a trajectory is compared: `sha256` in hexadecimal, `minima` as 128 numbers of 32 bits, big-endian."""

    sha256: str
    minima: bytes

    @property
    def bands(self) -> tuple[int, ...]:
        """The 32 bands, each as a signed number of 64 bits (SQLite's INTEGER); equal only to others' same band."""
        width = len(self.minima) // BANDS
        return tuple(
            int.from_bytes(_hash(b"%d:" % band + self.minima[band * width : (band + 1) * width]), "big", signed=True)
            for band in range(BANDS)
        )


class KnownSignature(msgspec.Struct, frozen=True):
    """A trajectory that shares a band: the cluster it belongs to, and its minima."""

    cluster: str
    minima: bytes


class ClusterMembership(msgspec.Struct, frozen=True):
    """The cluster of a trajectory, and how similar (0 to 1) the member is that it joined; 0 when it begins one."""

    cluster: str
    similarity: float


def signature_of(steps: Iterable[StepTexts]) -> Signature:
    """The signature of a trajectory's steps; reads each once."""
    whole = sha256()
    minima = [NO_SHINGLE] * VALUES
    left = SHINGLES_MAX
    for text, _chars in compared_texts(steps):
        whole.update(text)
        whole.update(b"\n")
        for shingle in islice(_shingles(text), left):
            left -= 1
            hashed = int.from_bytes(_hash(shingle), "big")
            place, value = hashed % VALUES, hashed >> VALUE_BITS
            minima[place] = min(minima[place], value)
    return Signature(whole.hexdigest(), _written(minima))


def similarity(first: bytes, second: bytes) -> float:
    """The share of values that two signatures' minima have in common: an estimate of the Jaccard similarity, 0 to 1."""
    pairs = zip(_values(first), _values(second), strict=True)
    return sum(a == b for a, b in pairs) / VALUES


def cluster_of(signature: Signature, sharing: Iterable[KnownSignature], similarity_min: float) -> ClusterMembership:
    """The cluster of a trajectory, given all others that share a band with it, in any order.

    It is that of the most similar one with at least `similarity_min` (of equally similar ones the least id), else a new
    one, whose id comes from the signature and says nothing of whom it is from.
    """
    found = ((similarity(signature.minima, each.minima), each.cluster) for each in sharing)
    near = sorted((-alike, cluster) for alike, cluster in found if alike >= similarity_min)
    if near:
        return ClusterMembership(near[0][1], -near[0][0])
    return ClusterMembership(f"clu_{signature.sha256[:32]}", 0.0)


def _shingles(text: bytes) -> Iterator[bytes]:
    """Yield the shingles of a step's text; of a text with less than three words all of it."""
    if len(text) > 2 * STEP_END_BYTES:
        text = text[:STEP_END_BYTES] + b"\n" + text[-STEP_END_BYTES:]
    words: Sequence[bytes] = WORD.findall(text)
    for place in range(max(1, len(words) - SHINGLE_WORDS + 1)):
        yield b" ".join(words[place : place + SHINGLE_WORDS])


def _hash(text: bytes) -> bytes:
    return blake2b(text, digest_size=HASH_BYTES, key=SEED).digest()


def _written(minima: Sequence[int]) -> bytes:
    """The least value of each bin; an empty bin has that of another one, chosen by its own number."""
    if any(value != NO_SHINGLE for value in minima):
        minima = [value if value != NO_SHINGLE else _borrowed(place, minima) for place, value in enumerate(minima)]
    return b"".join(value.to_bytes(VALUE_BITS // 8, "big") for value in minima)


def _borrowed(place: int, minima: Sequence[int]) -> int:
    """The value of a bin that is not empty; every signature asks for others' bins in the same order."""
    attempt = 0
    while (value := minima[int.from_bytes(_hash(b"%d/%d" % (place, attempt)), "big") % VALUES]) == NO_SHINGLE:
        attempt += 1
    return value


def _values(minima: bytes) -> Sequence[int]:
    return struct.unpack(f">{VALUES}I", minima)
