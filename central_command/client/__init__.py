"""The contract's other side: record, sign, send, retry (docs/clients.md). It computes what both sides do with `actors`,
and knows nothing of the server.

`Recorder` is for any program, `open_recorder` for one that runs trio. They are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from central_command.client.contract.connection import Trust
    from central_command.client.recording.recorder import RecorderSettings, RecorderStatistics, open_recorder
    from central_command.client.recording.recording import Recording
    from central_command.client.recording.synchronous import Recorder

__all__ = ["Recorder", "RecorderSettings", "RecorderStatistics", "Recording", "Trust", "open_recorder"]

_MODULES = {
    "Recorder": "recording.synchronous",
    "RecorderSettings": "recording.recorder",
    "RecorderStatistics": "recording.recorder",
    "Recording": "recording.recording",
    "Trust": "contract.connection",
    "open_recorder": "recording.recorder",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
