"""The user of this machine: a random id in a file, and where what is theirs lies.

Nothing is imported here but what every Python process has loaded already (`permission` says why).
"""

# ruff: noqa: PLC0415 (imports within functions: see above)
# ruff: noqa: PTH111 (`pathlib` is one of the modules that are not loaded)

import os

USER_ID_PATH = "~/.groove/user_id"
CONSENT_DB_PATH = "~/.groove/consent.db"
TRAINING_DATA_PATH = "~/.groove/training_data"

_ID_CHARS_MAX = 256


def withdrawal_note(consent_db_path: str | os.PathLike[str]) -> str:
    """Where the id of the last user who withdrew stands, beside a database of consent; only while they have."""
    return os.fspath(consent_db_path) + ".withdrawn"


def get_or_create_user_id(path: str | os.PathLike[str] = USER_ID_PATH) -> str:
    """The id of this machine's user: random, made on first use and kept; nothing of a person or machine is in it.

    Of two processes that ask first at once, both get the same one. Raises OSError when it cannot be kept, and
    TrainingDataError when the file holds none.
    """
    from pathlib import Path

    from persistence.files.kept_ids import keep_new_id

    path = os.path.expanduser(path)
    while (user_id := read_user_id(path)) is None:
        keep_new_id(Path(path))
    return user_id


def read_user_id(path: str | os.PathLike[str] = USER_ID_PATH) -> str | None:
    """The id of this machine's user, if there is one yet. Raises OSError, and TrainingDataError as above."""
    from pathlib import Path

    from central_command.training.records import TrainingDataError
    from persistence.files.regular import open_file

    path = os.path.expanduser(path)
    try:
        with os.fdopen(open_file(Path(path), follows_links=True), encoding="utf-8", errors="replace") as file:
            user_id = file.read(_ID_CHARS_MAX + 1).strip()
    except FileNotFoundError:
        return None
    if not user_id or len(user_id) > _ID_CHARS_MAX or not user_id.isprintable():
        raise TrainingDataError(f"{path} does not hold the id of a user: delete it, and a new one is made.")
    return user_id
