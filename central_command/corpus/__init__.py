"""The corpus read as typed objects: what may be shown of each session, chosen by filters, without anybody's id. Its
records are made in `actors.curation`; words are looked for in `search`, single sessions looked at in `viewing`.

`open_corpus` is where to begin (docs/datasets.md). Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from central_command.corpus.filters import Filters
    from central_command.corpus.opening import Corpus, open_corpus
    from central_command.corpus.served import NotServedError
    from central_command.corpus.trajectory import Record, Step, Trajectory

__all__ = ["Corpus", "Filters", "NotServedError", "Record", "Step", "Trajectory", "open_corpus"]

_MODULES = {
    "Corpus": "opening",
    "Filters": "filters",
    "NotServedError": "served",
    "Record": "trajectory",
    "Step": "trajectory",
    "Trajectory": "trajectory",
    "open_corpus": "opening",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
