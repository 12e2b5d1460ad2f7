"""A whole transcript at once, as tests look at it: what is said of it, and all its steps."""

from typing import BinaryIO

import msgspec

from central_command.client.contract.steps import Step
from central_command.client.transcripts.reader import Reading, Transcript, TranscriptReader


class Whole(Transcript, frozen=True, kw_only=True):
    """A transcript with its steps."""

    steps: tuple[Step, ...]


def whole(reader: TranscriptReader, file: BinaryIO) -> Whole:
    """Read all of a file."""
    reading = Reading(reader.read(file))
    steps = tuple(reading)
    transcript = reading.transcript
    assert len(steps) == transcript.step_count
    return Whole(**msgspec.structs.asdict(transcript), steps=steps)
