"""Whether anything of this machine's user may be captured.

Whoever asks must not pay for its being off: for a user without an id, without any consent, or who has withdrawn,
nothing is imported but what every Python process has loaded already.
"""

# ruff: noqa: PLC0415 (imports within functions: see above)
# ruff: noqa: PTH110, PTH111 (`pathlib` is one of the modules that are not loaded)

import os

from central_command.training.local_user import CONSENT_DB_PATH, USER_ID_PATH, read_user_id, withdrawal_note

_ID_BYTES_MAX = 1_024


def is_capture_enabled(
    user_id_path: str | os.PathLike[str] = USER_ID_PATH, consent_db_path: str | os.PathLike[str] = CONSENT_DB_PATH
) -> bool:
    """Whether the user of this machine has opted in, to the current terms.

    Never raises: what cannot be read is a warning in the log, and no consent.
    """
    user_id_path, consent_db_path = os.path.expanduser(user_id_path), os.path.expanduser(consent_db_path)
    if not os.path.exists(consent_db_path) or not (kept := _first_bytes(user_id_path)):
        return False
    if kept.strip() == _first_bytes(withdrawal_note(consent_db_path)):
        return False
    from central_command.training.consent import ConsentManager
    from central_command.training.records import TrainingDataError, log

    try:
        user_id = read_user_id(user_id_path)
        return user_id is not None and ConsentManager(consent_db_path).is_opted_in(user_id)
    except (OSError, TrainingDataError) as error:
        log.warning("nothing is captured, because it cannot be said who has opted in: %s", error)
        return False


def _first_bytes(path: str) -> bytes:
    """What stands in a small file; nothing where none can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _ID_BYTES_MAX)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
