"""A session of the corpus as a plain conversation, to resume it with: what was said, by whom and when.

    [{"role": "user" | "assistant" | "system" | "tool", "content": text, "createdAt": time or null}, …]

It is the same reading of the steps that all chat formats share (`conversation`, `chat`), without the model's reasoning.
What the assistant called stands in its content, a line each: the tool's name and, in brackets, its arguments as JSON;
what a tool gave is a message of the role `tool` behind it.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from central_command.corpus.reading import UnreadableLine
from central_command.corpus.stored import StoredCorpus
from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import JOINT, Message, messages_of
from central_command.exporting.conversation import Call, read_conversation
from central_command.exporting.shape import Shape
from central_command.live_sessions.history import Messages, NoHistory
from persistence.files.failures import NoDataDirectory
from persistence.format.records import Position

ID_PREFIX: Final = "sess_"
CANDIDATES_MAX: Final = 5
"""Of the sessions that a beginning may mean, so many are named."""
_SHAPE: Final = Shape(reasoning="drop")


def find_history(data_directory: Path, bytes_max: int, session_id: str) -> Callable[[], Messages] | NoHistory:
    """What reads the messages of a session, each made when it is its turn; none of one that was erased meanwhile.

    A record whose line is longer than `bytes_max` is not read. The line is checked before it is said that there is a
    conversation. Blocking. Raises StorageFailure, also where an archive is out of reach, and MasterKeyError.
    """
    absent = NoHistory("absent", f"There is no session {session_id} in the corpus.")
    try:
        corpus = StoredCorpus(data_directory)
        with corpus.snapshot() as snapshot:
            stored = snapshot.of_session(session_id)
            reason = None if stored is not None else snapshot.reason(session_id, "")
    except NoDataDirectory:
        return absent
    if stored is None:
        return (
            absent if reason is None else NoHistory("absent", f"Session {session_id} is not in the corpus: {reason}.")
        )
    if stored.position.length > bytes_max:
        return NoHistory("large", f"Session {session_id} has more than {bytes_max:,} bytes: export it instead.")
    try:
        corpus.check(stored.position)
    except UnreadableLine:
        return NoHistory("damaged", f"The record of session {session_id} is damaged: `verify` says where.")
    return partial(_read, corpus, stored.position)


def session_named(data_directory: Path, text: str) -> str | NoHistory:
    """The session of the corpus that is meant: of that id, else the one that begins so; `sess_` may be left out.

    Blocking. Raises StorageFailure, MasterKeyError.
    """
    try:
        with StoredCorpus(data_directory).snapshot() as snapshot:
            for beginning in (text, f"{ID_PREFIX}{text}"):
                found = snapshot.sessions_beginning(beginning, CANDIDATES_MAX + 1) if text else []
                if beginning in found or len(found) == 1:
                    return beginning if beginning in found else found[0]
                if found:
                    names = ", ".join(found[:CANDIDATES_MAX]) + (", …" if len(found) > CANDIDATES_MAX else "")
                    return NoHistory("absent", f"More than one session begins with {text!r}: {names}.")
    except NoDataDirectory as error:
        return NoHistory("absent", str(error))
    return text


def _read(corpus: StoredCorpus, place: Position) -> Messages:
    try:
        return messages_in(corpus.read(place).trajectory)
    except UnreadableLine:
        return iter(())


def messages_in(trajectory: Trajectory) -> Messages:
    """The conversation that a trajectory is."""
    for message in messages_of(read_conversation(trajectory), _SHAPE):
        if content := _content(message):
            at = trajectory.time_of(trajectory.steps[message.place])
            yield {"role": message.role, "content": content, "createdAt": at}


def _content(message: Message) -> str:
    calls = "\n".join(map(_called, message.calls))
    return JOINT.join(text for text in (message.content, calls) if text)


def _called(call: Call) -> str:
    return f"{call.name}({msgspec.json.encode(call.arguments).decode()})"
