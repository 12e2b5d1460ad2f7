"""What an export says of itself beside the rows: its files, and a line for each record that it holds (`index`)."""

from typing import Final

import msgspec

INDEX_NAME: Final = "index"
"""`index` and the ending of JSON lines: which record is where. It is read by `--incremental` and by `export verify`."""


class WrittenFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an export: its path below the folder, what of rows and of trajectories it holds, and its SHA-256."""

    path: str
    format: str = ""
    split: str = ""
    rows: int = 0
    trajectories: int = 0
    size_bytes: int = 0
    sha256: str = ""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a record's rows are: a file, the first of them (from 0), and how many."""

    path: str
    first: int
    rows: int


class Within(msgspec.Struct, frozen=True, array_like=True):
    """A sub-agent's record that stands within its parent's: by what it is told from others."""

    record_id: str
    session_id: str
    cluster: str
    sha256: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record of an export: by what it is told from others, what is counted of it, and where it is in each format."""

    record_id: str
    session_id: str
    contributor: str = ""
    """Of a record of the intake, whose user is told by it alone."""
    split: str
    cluster: str = ""
    sha256: str = ""
    provider: str = ""
    model: str = ""
    domain: str | None = None
    cognitive_target: str | None = None
    tier: str = ""
    outcome: str | None = None
    feedback: str | None = None
    consent_version: str | None = None
    rules: str = ""
    steps: int = 0
    chars: int = 0
    tokens: int | None = None
    cut_steps: int = 0
    findings: dict[str, int] = {}
    mended_numbers: int = 0
    mended_surrogates: int = 0
    embedded: tuple[Within, ...] = ()
    """Its sub-agents, however deep, whose steps are counted with its own."""
    places: dict[str, Place] = {}
    left_out: dict[str, str] = {}
    """By format, where a format has no row for it."""
