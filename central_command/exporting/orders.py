"""What an export and the processes that shape its rows say to each other, by the pipes between them.

The export sends its order first, and then which records are wanted next; a process answers with what became of each,
in order, or with why it cannot go on. Every message is MessagePack (`central_command.process.piped`), and no key is
among what is said: who has to have it reads it.
"""

from typing import Final

import msgspec

from central_command.exporting.selection import Selection
from central_command.exporting.shaped import Shaped


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What an export is made of, and how; `is_chosen` are records that were judged before."""

    data_directory: str
    plan: str
    selection: Selection
    family_bytes_max: int
    benchmark_ngrams_max: int
    benchmarks: tuple[str, ...] = ()
    tokenizer: str | None = None
    is_chosen: bool = False


class Failed(msgspec.Struct, frozen=True):
    """Why a process cannot go on, as a sentence; `is_storage` where a disk or a database failed."""

    sentence: str
    is_storage: bool


Answer = list[Shaped] | Failed

encode: Final = msgspec.msgpack.Encoder().encode
decode_order: Final = msgspec.msgpack.Decoder(Order).decode
decode_wanted: Final = msgspec.msgpack.Decoder(list[int]).decode
decode_answer: Final = msgspec.msgpack.Decoder[Answer](Answer).decode
