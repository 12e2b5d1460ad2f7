"""The one place that imports ONNX Runtime, with its telemetry off: everything of it is taken from here.

From 1.31 on the library makes an identifier of the machine as it is loaded, keeps that and what it would tell (the path
of the program, the system, the processor, the memory) under the home directory, and sends it to its makers. It is asked
not to before it is loaded, in the environment, which its C library reads; and again afterwards, by its own call.
"""

import os
from collections.abc import Callable
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # whatever it was: processes that are started from here have it, too

# Its C library is loaded here, so what is above comes first.
from onnxruntime import InferenceSession, RunOptions, SessionOptions, disable_telemetry_events

__all__ = ["InferenceSession", "RunOptions", "SessionOptions", "quantiser"]

disable_telemetry_events()


def quantiser() -> tuple[Callable[..., None], Any]:
    """Return `quantize_dynamic`, and the type of eight-bit weights; slow to import, and only needed for a build."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - see above

    return quantize_dynamic, QuantType.QInt8
