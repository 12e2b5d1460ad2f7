"""The public Python API for what an application's own users share: consent first, then capture, all of it in files of
the user's own machine (docs/training.md). It needs no server and talks to none; a name is imported when it is first
used.
"""

from central_command.training.local_user import get_or_create_user_id
from central_command.training.permission import is_capture_enabled

# Not `typing`'s: an application whose user has not opted in loads nothing for this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from actors.curation.domains import DomainTagger
    from actors.curation.scrubbing.scrubber import PIIScrubber
    from central_command.training.capture import CaptureSession
    from central_command.training.consent import ConsentManager, ConsentRecord
    from central_command.training.corpus import TrainingCorpus
    from central_command.training.intake import TrainingDataIntake
    from central_command.training.queueing import CaptureQueue, CaptureQueueStatistics
    from central_command.training.records import TrainingDataError, TrainingRecord
    from central_command.training.stats import CorpusStats
    from persistence.format.consent_events import CURRENT_CONSENT_VERSION

__all__ = [
    "CURRENT_CONSENT_VERSION",
    "CaptureQueue",
    "CaptureQueueStatistics",
    "CaptureSession",
    "ConsentManager",
    "ConsentRecord",
    "CorpusStats",
    "DomainTagger",
    "PIIScrubber",
    "TrainingCorpus",
    "TrainingDataError",
    "TrainingDataIntake",
    "TrainingRecord",
    "get_or_create_user_id",
    "is_capture_enabled",
]

_MODULES = {
    "CURRENT_CONSENT_VERSION": "persistence.format.consent_events",
    "CaptureQueue": "central_command.training.queueing",
    "CaptureQueueStatistics": "central_command.training.queueing",
    "CaptureSession": "central_command.training.capture",
    "ConsentManager": "central_command.training.consent",
    "ConsentRecord": "central_command.training.consent",
    "CorpusStats": "central_command.training.stats",
    "DomainTagger": "actors.curation.domains",
    "PIIScrubber": "actors.curation.scrubbing.scrubber",
    "TrainingCorpus": "central_command.training.corpus",
    "TrainingDataError": "central_command.training.records",
    "TrainingDataIntake": "central_command.training.intake",
    "TrainingRecord": "central_command.training.records",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (nothing is loaded before something is asked for)

    return getattr(import_module(_MODULES[name]), name)
