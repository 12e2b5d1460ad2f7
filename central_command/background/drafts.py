"""What crashes have left in a data directory: drafts that nobody will finish, exports that nobody knows. Blocking.

Only names that the program itself gives are looked at, and only what has not been touched for hours: a draft that is
being written is renamed within moments.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from persistence.files.whole_file import UNFINISHED_ENDING
from persistence.format.layout import DataLayout


def remove_drafts(layout: DataLayout, exports: Path, *, before: float) -> list[str]:
    """Remove drafts that were not touched since a time, in seconds since the epoch; return their names."""
    removed = []
    for path in _drafts(layout, exports):
        try:
            if path.is_symlink() or path.stat().st_mtime >= before:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:
            continue  # gone meanwhile, or not ours: the next day looks again
        removed.append(path.name)
    return removed


_PATTERNS: Final = (
    (".", f"*{UNFINISHED_ENDING}"),
    ("erasing", f"*{UNFINISHED_ENDING}"),
    ("keys", ".master.key.????????"),
    ("models", ".unfinished-*"),
)


def _drafts(layout: DataLayout, exports: Path) -> Iterator[Path]:
    for folder, pattern in _PATTERNS:
        yield from sorted((layout.root / folder).glob(pattern))
    yield from sorted(exports.glob(f"exp_*{UNFINISHED_ENDING}"))
    for path in sorted(exports.glob("exp_*")):
        if path.is_dir() and not path.with_name(f"{path.name}.json").exists():
            yield path
