"""The formats by their names: whatever `--format` takes."""

from typing import Final

from central_command.exporting.formats.atif import ATIF
from central_command.exporting.formats.dpo import DPO
from central_command.exporting.formats.format import Format
from central_command.exporting.formats.kto import KTO
from central_command.exporting.formats.messages import MESSAGES
from central_command.exporting.formats.openai import OPENAI
from central_command.exporting.formats.otel import OTEL
from central_command.exporting.formats.parquet import PARQUET
from central_command.exporting.formats.record import JSONL
from central_command.exporting.formats.records import RECORDS
from central_command.exporting.formats.sharegpt import SHAREGPT
from central_command.exporting.formats.swe_agent import SWE_AGENT
from central_command.exporting.formats.traces import TRACES

FORMATS: Final[dict[str, Format]] = {
    each.name: each
    for each in (MESSAGES, PARQUET, ATIF, SHAREGPT, OPENAI, KTO, DPO, SWE_AGENT, OTEL, TRACES, JSONL, RECORDS)
}
