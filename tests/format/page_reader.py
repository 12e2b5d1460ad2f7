"""A reader of data directories, written from docs/format.md alone: it knows nothing that does not stand there.

It imports the standard library, `cryptography` for sealed columns and keys, `zstandard` for cold days; nothing of the
project. Where it meets what the page does not list, it stops and says what it found.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

JOURNALS = ("envelopes", "refused", "trajectories", "consent", "intake", "corpus", "audit", "operations", "digests")
KINDS = ("CHUNK", "SESSION_CLOSE", "USER_FEEDBACK", "SERVER_CLOSE")
CLOSED_BY = ("session_close", "http_close", "abandoned", "withdrawn")
DATABASE_VERSIONS = {"sessions.db": 7, "ledger.db": 6, "corpus.db": 4, "search.db": 2, "access.db": 2, "jobs.db": 1}
MANIFEST_VERSION = 1

NUMBER = rb"[1-9][0-9]{0,18}"
TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
STRING = rb'"(?:[^"\\]|\\.)*"'
RECEIVED = re.compile(
    rb',"received":\{"n":(?P<n>%b),"at":"(?P<at>%b)","batch":(?P<batch>%b)'
    rb'(?:,"gap":(?P<gap>%b))?(?:,"letter":(?P<letter>%b))?(?:,"client_envelope_id":(?P<own_id>%b))?\}'
    % (NUMBER, TIME, NUMBER, NUMBER, NUMBER, STRING)
)
RECEIVED_START = b',"received":{"n":'
CHECKSUM = re.compile(rb',"crc32":"([0-9a-f]{8})"\}')
CHECKSUM_BYTES = 20
DAY_FILE = re.compile(r"(\d{4}-\d\d-\d\d)\.jsonl(\.zst|\.archived)?")
FORMS = ("", ".zst", ".archived")
"""Of several forms of one day the first counts."""
BACKUP_PATH = re.compile(
    r"sessions\.db|ledger\.db|corpus\.db|access\.db|jobs\.db|erasures\.jsonl|keys/(?:master|pseudonyms)\.key"
    r"|(?:refused|operations)/dropped\.jsonl"
    r"|(?:envelopes|refused|trajectories|consent|intake|corpus|audit|operations|digests)/\d{4}-\d\d-\d\d\.jsonl(?:\.zst)?"
)


class UnknownFormat(Exception):  # noqa: N818 (a state of what was read)
    """Something has a version, a kind or a form that the page does not list."""


class Damage(Exception):  # noqa: N818 (likewise)
    """Something that was on stable storage is gone or changed."""


@dataclass(frozen=True)
class Line:
    """A good line and where it stands. `text` is the line without its LF, `head` all of it before the tail."""

    n: int
    at: str
    batch: int
    gap: int
    letter: int | None
    own_id: bytes | None
    day: str
    offset: int
    text: bytes
    head: bytes

    @property
    def length(self) -> int:
        """Its bytes, with the LF."""
        return len(self.text) + 1

    @property
    def members(self) -> dict[str, Any]:
        """All of it, decoded."""
        members: dict[str, Any] = decoded(self.text)
        return members


@dataclass(frozen=True)
class TornEnd:
    """Where a journal ends, when bytes follow that nobody was told of."""

    day: str
    offset: int
    what: str

    def copy_name(self, journal: str) -> str:
        """What the server calls the file that it moves them to."""
        return f"{journal}-{self.day}-{self.offset}.part"


def decoded(text: bytes) -> Any:
    """JSON as it comes: lone surrogates, numbers of any length, names that occur twice."""
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))


# Lines


def read_line(text: bytes, day: str = "", offset: int = 0) -> Line | None:
    """Read a line without its LF; None for a bad one."""
    before, checksum = text[:-CHECKSUM_BYTES], CHECKSUM.fullmatch(text[-CHECKSUM_BYTES:])
    if not text.startswith(b"{") or checksum is None or zlib.crc32(before) != int(checksum[1], 16):
        return None
    start = before.rfind(RECEIVED_START)
    tail = RECEIVED.fullmatch(before, start) if start > 0 else None
    if tail is None:
        return _with_more_received(text, day, offset)
    return Line(
        n=int(tail["n"]),
        at=tail["at"].decode(),
        batch=int(tail["batch"]),
        gap=int(tail["gap"] or 0),
        letter=None if tail["letter"] is None else int(tail["letter"]),
        own_id=tail["own_id"],
        day=day,
        offset=offset,
        text=text,
        head=before[:start],
    )


def _with_more_received(text: bytes, day: str, offset: int) -> Line | None:
    """Read a line whose `received` may have members that are not listed."""
    try:
        start, value, end = next(span for name, *span in _members_of(text) if name == "received")
        received = decoded(text[value:end])
        n, at, batch, gap = received["n"], received["at"], received["batch"], received.get("gap", 0)
        if not (isinstance(n, int) and isinstance(batch, int) and re.fullmatch(TIME, at.encode())):
            return None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration):
        return None
    own_ids = [
        text[value + first : value + last]
        for name, _, first, last in _members_of(text[value:end])
        if name == "client_envelope_id"
    ]
    return Line(
        n=n,
        at=at,
        batch=batch,
        gap=gap,
        letter=received.get("letter"),
        own_id=own_ids[0] if own_ids else None,
        day=day,
        offset=offset,
        text=text,
        head=text[: start - 1],
    )


def read_dropped(folder: Path) -> dict[str, Any]:
    """What was dropped of a journal: the last good line of `dropped.jsonl`."""
    path = folder / "dropped.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if folder.name == "refused" and path.exists() else []
    good = [line for text in lines if (line := read_line(text)) is not None]
    return good[-1].members["dropped"] if good else {"n": 0, "day": "", "files": 0, "size_bytes": 0}


def _texts(folder: Path, first_day: str = "", first_offset: int = 0) -> Iterator[tuple[str, int, bytes, bool]]:
    """Day, offset, text and whether there was an LF, of everything in a journal's files from a place on."""
    dropped_day = read_dropped(folder)["day"]
    paths = [*folder.iterdir()] if folder.is_dir() else []  # some are missing until they are needed
    days = {found[1] for path in paths if (found := DAY_FILE.fullmatch(path.name)) is not None}
    for day in sorted(days):
        if day < first_day or day <= dropped_day:
            continue
        content = read_day(folder, day)
        offset = first_offset if day == first_day else 0
        while offset < len(content):
            end = content.find(b"\n", offset)
            yield day, offset, content[offset:] if end < 0 else content[offset:end], end >= 0
            offset = len(content) if end < 0 else end + 1


def read_day(folder: Path, day: str) -> bytes:
    """The plain bytes of a day's file, whatever form it has."""
    form = next(form for form in FORMS if (folder / f"{day}.jsonl{form}").exists())
    path = folder / f"{day}.jsonl{form}"
    if not form:
        return path.read_bytes()
    return unpacked((Path(json.loads(path.read_text())["archived"]) if form == ".archived" else path).read_bytes())


def unpacked(content: bytes) -> bytes:
    """What a compressed file holds, frame by frame, as its table says."""
    count, descriptor, end = struct.unpack("<IBI", content[-9:])
    begin = len(content) - 9 - 8 * count - 8
    if end != 0x8F92EAB1 or descriptor or begin < 0:
        raise Damage("a compressed file without its table")
    if struct.unpack_from("<II", content, begin) != (0x184D2A5E, 8 * count + 9):
        raise Damage("a compressed file with half a table")
    offset, found = 0, []
    for packed, plain in struct.iter_unpack("<II", content[begin + 8 : -9]):
        frame = content[offset : offset + packed]
        if zstandard.frame_content_size(frame) != plain:
            raise Damage("a frame of another size than the table says")
        found.append(zstandard.ZstdDecompressor().decompress(frame))
        offset += packed
    if offset != begin:
        raise Damage("a table that does not fit the frames")
    return b"".join(found)


def read_journal(folder: Path) -> tuple[list[Line], TornEnd | None]:
    """All good lines of a journal, and its torn end if it has one; raises Damage."""
    lines: list[Line] = []
    dropped = read_dropped(folder)["n"]
    for day, offset, text, is_whole in _texts(folder):
        line = read_line(text, day, offset) if is_whole else None
        expected = dropped + len(lines) + 1
        if line is None or line.n != expected:
            what = "no LF" if not is_whole else "a wrong checksum" if line is None else f"number {line.n}"
            _check_torn(folder, day, offset, expected)
            return lines, TornEnd(day, offset, what)
        _check_batch(line, lines[-1] if lines else None)
        lines.append(line)
    return lines, None


def _check_torn(folder: Path, day: str, offset: int, expected: int) -> None:
    for later_day, later_offset, text, is_whole in _texts(folder, day, offset):
        line = read_line(text) if is_whole else None
        if line is not None and (later_day > day or line.batch > expected or line.n < expected):
            raise Damage(
                f"{folder.name}: {day} at {offset}: line {line.n} stands behind it ({later_day}, {later_offset})"
            )


def _check_batch(line: Line, before: Line | None) -> None:
    begins = line.batch == line.n
    goes_on = before is not None and (line.batch, line.at, line.day) == (before.batch, before.at, before.day)
    if not begins and not goes_on:
        raise Damage(f"line {line.n} is of batch {line.batch}, which it neither begins nor goes on with")
    if line.at[:10] > line.day:
        raise Damage(f"line {line.n} is of {line.at}, later than its file {line.day}")


def kind_of(members: dict[str, Any]) -> str:
    """The kind of a line of `envelopes/`."""
    kind = members.get("type", "CHUNK")
    if kind not in KINDS:
        raise UnknownFormat(f"a line of the kind {kind!r}")
    return str(kind)


def closed_by(members: dict[str, Any]) -> str:
    """What ended a session, of a line that has it as a member."""
    if members["closed_by"] not in CLOSED_BY:
        raise UnknownFormat(f"a session closed by {members['closed_by']!r}")
    return str(members["closed_by"])


def subject_of(contributor_id: str) -> str:
    """What stands for a contributor in `consent/`."""
    return f"sha256:{hashlib.sha256(contributor_id.lower().encode()).hexdigest()}"


def user_subject_of(user_id: str) -> str:
    """What stands for a user of an application in `consent/` and `intake/`."""
    return f"sha256:{hashlib.sha256(b'user:' + user_id.encode()).hexdigest()}"


def kind_of_record(members: dict[str, Any]) -> str:
    """What a line of `corpus/` was made of."""
    kind = members.get("kind", "trajectory")
    if kind not in ("trajectory", "text"):
        raise UnknownFormat(f"a record of the kind {kind!r}")
    return str(kind)


def event_of(members: dict[str, Any]) -> dict[str, Any] | None:
    """The event that a line of `consent/` holds; None where it holds a key."""
    if "contributor_key" in members:
        return None
    event = {name: value for name, value in members.items() if name not in ("received", "crc32")}
    if event["state"] not in ("given", "withdrawn"):
        raise UnknownFormat(f"an event of the state {event['state']!r}")
    return event


def event_hash(event: dict[str, Any]) -> str:
    """The hash of an event: the `previous_sha256` of the next."""
    text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_events(lines: list[Line]) -> None:
    """Whether each event of `consent/` follows the one before it; raises Damage."""
    before = "0" * 64
    for line in lines:
        event = event_of(line.members)
        if event is not None:
            if event["previous_sha256"] != before:
                raise Damage(f"line {line.n} of consent/ does not follow the event before it")
            before = event_hash(event)


# Erased lines


def counted(journal: str, line: Line) -> dict[str, Any]:
    """What of a line the databases count: its members, or those that stand for an erased one's."""
    members = line.members
    if "erased" not in members:
        return members
    if {*members} != {"erased", "received", "crc32"} or not line.head.startswith(b'{"erased":{'):
        raise UnknownFormat(f"line {line.n} of {journal}/ is erased, and says more")
    erased = members["erased"]
    kept = erased.get("kept", {})
    if journal == "intake":
        return kept or {"record_id": f"text_erased_{line.n}", "subject": "", "session_id": "", "content_type": ""}
    names = {"session_id": kept.get("session_id", f"erased_{erased.get('session')}")}
    metadata = {"provider": erased.get("provider"), "model_engine": erased.get("model")}
    if journal == "refused":
        return names | {
            "envelope_id": f"env_erased_refused_{line.n}",
            "type": "",
            "sequence": erased.get("sequence"),
            "session_hmac": "",
            "refused": {"code": erased["code"], "reason": ""},
            **({"body_sha256": ""} if erased.get("without_body") else {}),
        }
    if journal == "trajectories":
        packed = base64.b64decode(erased.get("fingerprints", ""))
        return names | {
            "trajectory_id": kept.get("trajectory_id", f"traj_erased_{erased.get('session')}"),
            "contributor_id": kept.get("contributor_id", erased.get("request")),
            "most_copied_from": kept.get("copied_from"),
            "metadata": metadata,
            "score": erased["score"],
            "total_steps": erased.get("steps", 0),
            "closed_by": erased["closed_by"],
            "copied_steps": erased.get("copied_steps", 0),
            "fingerprints": [number for (number,) in struct.iter_unpack(">q", packed)],
        }
    kind = erased.get("kind", "SERVER_CLOSE")
    named = {"contributor_id": kept["contributor_id"]} if "contributor_id" in kept else {}
    return (
        names
        | named
        | {
            "envelope_id": kept.get("envelope_id", f"env_erased_{line.n}"),
            "type": kind,
            "attestation": {"session_hmac": kept.get("session_hmac", ""), "sequence": erased.get("sequence")},
            "chunk_sequence": erased.get("chunk_sequence"),
            "metadata": metadata,
            "trajectory_log": [None] * erased.get("steps", 0),
            "feedback": {"signal": erased.get("signal")},
            "closed_by": erased.get("closed_by"),
        }
    )


# Signatures


def _members_of(text: bytes) -> list[tuple[str, int, int, int]]:
    """Name, start of the name, start and end of the value, of each member of a JSON object text."""
    latin = text.decode("latin-1")  # one character a byte
    decoder = json.JSONDecoder(parse_int=float)
    white = re.compile(r"[ \t\r\n]*")

    def after(position: int) -> int:
        found = white.match(latin, position)
        assert found is not None
        return found.end()

    members, position = [], after(1)
    while latin[position] != "}":
        start = position
        name, position = decoder.raw_decode(latin, position)
        value = after(after(position) + 1)
        _, end = decoder.raw_decode(latin, value)
        members.append((name, start, value, end))
        position = after(end)
        if latin[position] == ",":
            position = after(position + 1)
    return members


def without(text: bytes, name: str) -> bytes:
    """A JSON object text with a top-level member taken out."""
    members = _members_of(text)
    for index, (found, start, _, end) in enumerate(members):
        if found == name:
            if index + 1 < len(members):
                return text[:start] + text[members[index + 1][1] :]
            return text[: members[index - 1][3] if index else start] + text[end:]
    return text


def signed_texts(line: Line) -> Iterator[bytes]:
    """What may have been signed, of a line of `envelopes/`, in the order in which to try it."""
    text = without(without(line.head + b"}", "envelope_id"), "attestation")
    if line.own_id is None:
        yield text
        return
    member = b'"envelope_id":' + line.own_id
    members = _members_of(text)
    for _, start, _, _ in members:
        yield text[:start] + member + b"," + text[start:]
    end = members[-1][3]
    yield text[:end] + b"," + member + text[end:]


def is_signed(secret: bytes, sequence: int, session_hmac: str, texts: list[bytes]) -> bool:
    """Whether the signature is that of one of the texts, as it is or as ECMAScript would write it."""
    for text in (*texts, *map(ecmascript, texts)):
        found = hmac.new(secret, struct.pack(">I", sequence) + text, hashlib.sha256).hexdigest()
        if hmac.compare_digest(found, session_hmac):
            return True
    return False


def envelope_is_signed(line: Line, secret: bytes) -> bool:
    """Whether a line of `envelopes/` (no SERVER_CLOSE) verifies."""
    attestation = line.members["attestation"]
    return is_signed(secret, attestation["sequence"], attestation["session_hmac"], list(signed_texts(line)))


def refused_body(line: Line) -> bytes | None:
    """What was received; None where only its length and checksum are kept."""
    members = line.members
    ways = [name for name in ("body", "body_deflate", "body_sha256") if name in members]
    if len(ways) != 1:
        raise UnknownFormat(f"line {line.n} of refused/ holds its body in these ways: {ways}")
    if ways == ["body_sha256"]:
        return None
    if ways == ["body"]:
        text: str = members["body"]
        return text.encode("utf-8", "surrogatepass")
    return zlib.decompress(base64.b64decode(members["body_deflate"], validate=True))


def refused_is_signed(line: Line, secret: bytes) -> bool:
    """Whether what a line of `refused/` holds verifies."""
    body = refused_body(line)
    if body is None:
        return True  # there is nothing to sign
    attestation = decoded(body)["attestation"]
    return is_signed(secret, attestation["sequence"], attestation["session_hmac"], [without(body, "attestation")])


def ecmascript(text: bytes) -> bytes:
    """`JSON.stringify(JSON.parse(text))`."""
    value = json.loads(text, parse_int=_number, parse_float=_number, object_pairs_hook=_ordered)
    return _written(value).encode("utf-8", "backslashreplace")


class _Number(str):
    """A number as ECMAScript writes it."""

    __slots__ = ()


def _number(digits: str) -> _Number:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        return _Number("null")
    if value == 0:
        return _Number("0")
    if 1e-6 <= abs(value) < 1e21:
        plain = format(Decimal(repr(value)), "f")
        return _Number(plain.rstrip("0").rstrip(".") if "." in plain else plain)
    mantissa, _, exponent = repr(value).partition("e")
    return _Number(f"{mantissa.removesuffix('.0')}e{int(exponent):+d}")


def _ordered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    indices = [name for name in members if re.fullmatch(r"0|[1-9][0-9]{0,9}", name) and int(name) <= 2**32 - 2]
    return {name: members[name] for name in (*sorted(indices, key=int), *members)}


def _written(value: Any) -> str:
    match value:
        case _Number():
            return value
        case str():
            return encode_basestring(value)
        case dict():
            return "{" + ",".join(f"{encode_basestring(name)}:{_written(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_written, value)) + "]"
        case None:
            return "null"
        case _:
            return "true" if value else "false"


# Keys and sealed columns


def read_master_key(text: str) -> bytes:
    """The 32 bytes of `keys/master.key`."""
    key = base64.b64decode(text.strip(), validate=True)
    if len(key) != 32:
        raise UnknownFormat(f"a master key of {len(key)} bytes")
    return key


def key_id(key: bytes) -> str:
    """The id of a master key."""
    return hashlib.sha256(b"central-command key id\0" + key).hexdigest()[:8]


def unsealed(sealed: str, key: bytes, column: str, session_id: str = "") -> str:
    """The plain text of a sealed column; raises what `cryptography` raises when it is another row's or column's."""
    version, sealed_with, text = sealed.split(".")
    if version != "v1":
        raise UnknownFormat(f"a column sealed in the format {version!r}")
    if sealed_with != key_id(key):
        raise UnknownFormat(f"a column sealed with the key {sealed_with}")
    octets = base64.b64decode(text, validate=True)
    return AESGCM(key).decrypt(octets[:12], octets[12:], f"{column}\0{session_id}".encode()).decode()


# Backups


def check_backup(folder: Path) -> dict[str, Any]:
    """The manifest of a backup, every file of which is as it says; raises Damage."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    if manifest["version"] != MANIFEST_VERSION:
        raise UnknownFormat(f"a manifest of the version {manifest['version']}")
    schemas = manifest["schemas"]
    known = {name: version for name, version in DATABASE_VERSIONS.items() if name in schemas}
    if schemas != known or not {"sessions.db", "ledger.db"} <= {*schemas}:
        raise UnknownFormat(f"databases of the versions {manifest['schemas']}")
    for file in manifest["files"]:
        if not BACKUP_PATH.fullmatch(file["path"]):
            raise UnknownFormat(f"a backup of the file {file['path']!r}")
        content = (folder / file["path"]).read_bytes()
        found = (len(content), hashlib.sha256(content).hexdigest(), content.count(b"\n"))
        if found != (file["size_bytes"], file["sha256"], file["lines"]):
            raise Damage(f"{file['path']} is not what the manifest says")
    return manifest
