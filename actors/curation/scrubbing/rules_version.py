"""Which rules a text was scrubbed by: raised whenever a rule finds more, less or something else."""

from typing import Final

SCRUB_RULES_VERSION: Final = 1
