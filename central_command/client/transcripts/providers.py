"""The readers, by the contract's name of the agent whose session files they read.

Every module of this package that has a `READER` is one: adding an agent is adding its file.
"""

from importlib import import_module
from pkgutil import iter_modules

from central_command.client import transcripts
from central_command.client.transcripts.reader import TranscriptReader


def _find() -> dict[str, TranscriptReader]:
    found: dict[str, TranscriptReader] = {}
    for module in sorted(iter_modules(transcripts.__path__), key=lambda module: module.name):
        if module.name in {"providers", "detection", "other_agents"}:
            continue
        reader: TranscriptReader | None = getattr(
            import_module(f"{transcripts.__name__}.{module.name}"), "READER", None
        )
        if reader is not None:
            assert reader.provider not in found, f"two readers for {reader.provider}"
            found[reader.provider] = reader
    return found


READERS: dict[str, TranscriptReader] = _find()
