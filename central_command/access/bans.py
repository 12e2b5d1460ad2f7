"""Who may open no sessions: machines, contributors and networks, looked at in memory when a session is opened.

The look costs two look-ups in dictionaries and one for each length of a banned network's prefix, and only where
anything is banned at all; nothing of it is on the way of an envelope. What is in memory follows access.db: at once
where this process has changed it, and where a command has, at the first opening `bans_refresh_s` after the last look,
which reads 28 bytes in a thread. Where nobody opens a session that is done by each sweep, so that it is known whether
they can be read.
"""

import ipaddress
import logging
import math
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
import trio

from actors.consent.restrictions import subject_of
from central_command.access.settings import AccessSettings
from central_command.access.tokens import new_id
from persistence.databases.bans import BanFile, StoredBan, TooManyBans
from persistence.databases.database import DatabaseFailure
from persistence.files.file_system import Offload
from persistence.format import times
from persistence.format.consent_events import DIGEST_PREFIX

log = logging.getLogger("central_command.tokens")

REASON_CHARS_MAX: Final = 200
DAYS_MAX: Final = 36_500

MACHINE: Final = re.compile(r"\A[A-Za-z0-9_.:-]{1,128}\Z")
WHOLE_FINGERPRINT: Final = re.compile(r"\A[0-9a-f]{64}\Z")
"""What clients of the contract send: a SHA-256."""
CONTRIBUTOR: Final = re.compile(r"\A(?:[0-9a-fA-F]{32}|sha256:[0-9a-f]{64})\Z")

PREFIX_BITS_MIN: Final = {4: 8, 6: 16}
"""A shorter prefix would ban a good part of everybody."""

IPV6_KEY_BITS: Final = 64
"""What addresses of IPv6 are counted by (`central_command.http.requests.addresses`)."""


class BanKind(StrEnum):
    """What is banned."""

    MACHINE = "machine"
    """A machine by the fingerprint that its client sends."""
    CONTRIBUTOR = "contributor"
    """A contributor by their id, or its digest; only the digest is kept."""
    ADDRESS = "address"
    """An address, or a network of addresses (CIDR)."""


WRONG_SUBJECTS: Final = {
    BanKind.MACHINE: "machine must be 1 to 128 letters, digits or any of _ . : -.",
    BanKind.CONTRIBUTOR: "contributor must be 32 hexadecimal digits, or sha256: and 64 of them.",
    BanKind.ADDRESS: "address must be an IP address, or a network of at least /8 (IPv6: /16).",
}
ADDRESS_AS_MACHINE: Final = "machine must not be an IP address or a network: those are of the kind address."
NO_MACHINE: Final = (
    "machine must be the whole fingerprint (64 hexadecimal digits, in lower case), or the beginning of one that has "
    "opened a session here: none begins so."
)
MANY_MACHINES: Final = "machine must be more of the fingerprint: more than one machine has opened sessions with this."
WRONG_REASON: Final = f"reason must be at most {REASON_CHARS_MAX} characters that can be printed."


class Ban(msgspec.Struct, frozen=True):
    """A ban that is to be: who, why, and for how many days, None for until it is taken back."""

    kind: BanKind
    subject: str
    reason: str
    days: int | None


def subject_as_kept(kind: BanKind, text: str) -> str | None:
    """What stands for who is banned; None where the text is nobody's (`wrong_subject` says why)."""
    match kind:
        case BanKind.MACHINE:
            return text if MACHINE.match(text) and not _is_network(text) else None
        case BanKind.CONTRIBUTOR:
            if not CONTRIBUTOR.match(text):
                return None
            return text if text.startswith(DIGEST_PREFIX) else subject_of(text)
        case BanKind.ADDRESS:
            return _network_text(text)


def wrong_subject(kind: BanKind, text: object) -> str:
    """The sentence on a text that stands for nobody of a kind. An address is no machine's fingerprint, but looks it."""
    if kind == BanKind.MACHINE and isinstance(text, str) and _is_network(text):
        return ADDRESS_AS_MACHINE
    return WRONG_SUBJECTS[kind]


class NotOne(msgspec.Struct, frozen=True):
    """A machine's name stands for no machine, or for several; the sentence says which."""

    sentence: str


def with_whole_machine(ban: Ban, known: Sequence[str]) -> Ban | NotOne:
    """The ban of a whole fingerprint: as given, or of the one machine that is known by its beginning.

    `known` are the machines whose fingerprints begin as given, in order; two are enough.
    """
    if ban.kind != BanKind.MACHINE or ban.subject in known or WHOLE_FINGERPRINT.match(ban.subject):
        return ban
    if len(known) > 1:
        return NotOne(MANY_MACHINES)
    return msgspec.structs.replace(ban, subject=known[0]) if known else NotOne(NO_MACHINE)


class BanDesk:
    """Makes, lists and takes back bans, durably. Blocking; raises DatabaseFailure."""

    def __init__(
        self,
        path: Path,
        settings: AccessSettings,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._file = BanFile(path, clock)
        self._settings = settings
        self._clock = clock
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"<BanDesk of {self._file!r}>"

    def ban(self, ban: Ban) -> StoredBan | TooManyBans:
        """Ban somebody; a ban of the same subject is replaced."""
        now = self._clock()
        stored = StoredBan(
            ban_id=new_id("ban", self._random_bytes),
            kind=ban.kind,
            subject=ban.subject,
            reason=ban.reason,
            created_at=times.to_text(now),
            expires_at=None if ban.days is None else times.to_text(now + ban.days * 86_400),
        )
        return self._file.add(stored, bans_max=self._settings.bans_max)

    def all(self) -> list[StoredBan]:
        """All bans, oldest first."""
        return self._file.all()

    def unban(self, beginning: str) -> StoredBan | None:
        """Take back the one ban whose id begins so; None where there is none, or more than one."""
        return self._file.remove(beginning)

    def changes(self) -> bytes:
        """What differs after each change of the file."""
        return self._file.changes()


class BanList:
    """The bans in memory."""

    def __init__(
        self, desk: BanDesk, settings: AccessSettings, *, clock: Callable[[], float], offload: Offload
    ) -> None:
        self._desk = desk
        self._refresh_s = settings.bans_refresh_s
        self._clock = clock
        self._offload = offload
        self._seen: bytes | None = None
        self.is_unable = False
        """Whether the bans could not be read when they were looked at last: those made since do not hold."""
        self._looked_at = -math.inf
        self._until: dict[tuple[str, str], str] = {}
        """By kind and subject, until when; "~" sorts behind every time. `bans_max` at most."""
        self._networks: dict[tuple[int, int], dict[int, str]] = {}
        """The same of networks, by version and length of the prefix, and by its bits."""

    def __repr__(self) -> str:
        return f"<BanList {len(self._until) + sum(map(len, self._networks.values()))} bans>"

    async def refuses(self, *, machine: str, contributor_id: str | None, address: str) -> bool:
        """Whether who asks so may open no session; `address` is the key that it is counted by."""
        if trio.current_time() - self._looked_at >= self._refresh_s:
            self._looked_at = trio.current_time()  # first, so that of many openings one waits
            await self.look()
        if not self._until and not self._networks:
            return False
        until = [self._until.get((BanKind.MACHINE, machine))]
        if contributor_id is not None:
            until.append(self._until.get((BanKind.CONTRIBUTOR, subject_of(contributor_id))))
        until += self._until_by_network(address)
        return any(each is not None and times.to_text(self._clock()) < each for each in until)

    def _until_by_network(self, address: str) -> list[str | None]:
        if not self._networks:
            return []
        try:
            found = ipaddress.ip_address(address.partition("/")[0])
        except ValueError:
            return []  # of nobody whose address is known
        return [
            by_bits.get(int(found) >> found.max_prefixlen - bits)
            for (version, bits), by_bits in self._networks.items()
            if version == found.version
        ]

    async def ban(self, ban: Ban) -> StoredBan | TooManyBans:
        """Ban somebody, durably; it counts from now on."""
        made = await self._offload(self._desk.ban, ban)
        await self.load()
        return made

    async def unban(self, ban_id: str) -> StoredBan | None:
        """Take a ban back, durably; it counts no more from now on."""
        removed = await self._offload(self._desk.unban, ban_id)
        await self.load()
        return removed

    async def all(self) -> list[StoredBan]:
        """All bans, oldest first."""
        return await self._offload(self._desk.all)

    async def load(self) -> None:
        """Take over what is on disk. Raises DatabaseFailure, with nothing changed."""
        seen = await self._offload(self._desk.changes)
        if seen == self._seen:
            return
        bans = await self._offload(self._desk.all)
        until: dict[tuple[str, str], str] = {}
        networks: dict[tuple[int, int], dict[int, str]] = {}
        for each in bans:
            if each.kind == BanKind.ADDRESS:
                network = ipaddress.ip_network(each.subject)
                bits = int(network.network_address) >> network.max_prefixlen - network.prefixlen
                networks.setdefault((network.version, network.prefixlen), {})[bits] = each.expires_at or "~"
            else:
                until[each.kind, each.subject] = each.expires_at or "~"
        self._seen, self._until, self._networks = seen, until, networks

    async def look(self) -> None:
        """Take over what commands have changed; what cannot be read now is said once, and left as it was."""
        try:
            await self.load()
        except (DatabaseFailure, ValueError) as failure:
            if not self.is_unable:
                log.error("the bans cannot be read, those known stay in force: %s", failure)  # noqa: TRY400 (all is said)
            self.is_unable = True
        else:
            self.is_unable = False


def _network_text(text: str) -> str | None:
    """A network as it is kept: of IPv6 no smaller than what addresses are counted by; None for what is none."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if "%" in text:
        return None  # a zone is this machine's own affair
    if network.version == 6:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            network = ipaddress.ip_network((mapped, network.prefixlen - 96))
        elif network.prefixlen > IPV6_KEY_BITS:
            network = network.supernet(new_prefix=IPV6_KEY_BITS)
    return str(network) if network.prefixlen >= PREFIX_BITS_MIN[network.version] else None


def _is_network(text: str) -> bool:
    """Whether this is an IP address or a network, of whatever size."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
