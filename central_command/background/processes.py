"""A job's process (`worker`): started, waited for, ended when the job is cancelled."""

import sys
from typing import Final

import msgspec

from actors.jobs.queue import NotDone
from central_command.background.worker import Answer, Order
from central_command.process.children import start, stop

COMMAND: Final = (sys.executable, "-P", "-m", "central_command.background.worker")
ANSWER_BYTES_MAX: Final = 4_194_304
STOP_GRACE_S: Final = 2.0

_ANSWER: Final = msgspec.json.Decoder(Answer)


async def done(order: Order) -> Answer:
    """Have an order done. Raises NotDone, OSError."""
    process = await start([*COMMAND, msgspec.json.encode(order).decode()])
    assert process.stdout is not None
    said = b""
    try:
        while received := await process.stdout.receive_some():
            said = (said + received)[-ANSWER_BYTES_MAX:]
        await process.wait()
    finally:
        await stop(process, grace_s=STOP_GRACE_S)
    try:
        answer = _ANSWER.decode(said)
    except msgspec.DecodeError:
        raise NotDone(f"Its process ended with status {process.returncode}; the log says why.") from None
    if answer.refused is not None:
        raise NotDone(answer.refused)
    return answer
