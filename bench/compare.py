"""Sets two reports of the same benchmark side by side: `python -m bench.compare A.json B.json`."""

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.report import Report, shown


def main() -> int:
    """Print each figure of both, and B's share of A's; status 1 when they have nothing in common."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, metavar="A", help="report written with --json")
    parser.add_argument("after", type=Path, metavar="B", help="report to set beside it")
    options = parser.parse_args()
    try:
        before, after = (
            msgspec.json.decode(path.read_bytes(), type=Report) for path in (options.before, options.after)
        )
    except (OSError, msgspec.DecodeError) as error:
        print(f"a report cannot be read: {error}", file=sys.stderr)
        return 1
    table = Table(title=before.benchmark)
    for heading in ("", "figure"):
        table.add_column(heading)
    for heading in ("A", "B", "B / A"):
        table.add_column(heading, justify="right")
    figures_before = {each.name: each.figures for each in before.measurements}
    for each in after.measurements:
        earlier = figures_before.get(each.name, {})
        for index, figure in enumerate(name for name in each.figures if name in earlier):
            old, new = earlier[figure], each.figures[figure]
            share = shown(new / old) if old else ""
            table.add_row(each.name if index == 0 else "", figure, shown(old), shown(new), share)
    if not table.row_count:
        print("the two reports have no measurement in common", file=sys.stderr)
        return 1
    Console(width=160).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
