"""The formats by their names: whatever `--format` takes."""

from typing import Final

from central_command.exporting.formats.format import Format

FORMATS: Final[dict[str, Format]] = {}
