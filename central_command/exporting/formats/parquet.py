"""`parquet`: the rows of `messages`, in Parquet."""

from typing import Final

import msgspec

from central_command.exporting.formats.format import Format
from central_command.exporting.formats.messages import MESSAGES

PARQUET: Final[Format] = msgspec.structs.replace(MESSAGES, name="parquet", ending="parquet")
