"""What pages load beside their HTML: style, scripts, icons. Read once, compressed once, held in memory.

The path of each holds a digest of all of them, so that browsers keep what they have until anything changes, and
modules find each other by their plain names.
"""

import gzip
import hashlib
import re
import tomllib
from collections.abc import Mapping
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

import msgspec
from quart import Blueprint, Response, request

from central_command.http.requests.bodies import ProblemError
from central_command.http.requests.replies import HttpProblem

ASSETS_PATH: Final = "/assets"

VENDORED: Final = "vendored.toml"
"""The list of what others have written: where it is from, and its digest."""

TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }
)
BYTES_MAX: Final = 250_000
"""Of all files together, uncompressed; what somebody loads who sees a page for the first time."""

_UNCHANGING: Final = "public, max-age=31536000, immutable"
_ASKED_AGAIN: Final = "public, no-cache"
_ETAG: Final = re.compile(r'"([0-9a-f]{1,64})"')


class Vendored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a package of the npm registry: `path` is its place in there, `sha256` of the file as it is here."""

    name: str
    package: str
    version: str
    path: str
    license: str
    sha256: str


class Asset(msgspec.Struct, frozen=True):
    """A file as it is sent; `compressed` is gzip."""

    content_type: str
    content: bytes
    compressed: bytes


class Bundle:
    """The files; raises ValueError where they are larger than they may be."""

    def __init__(self, folder: Traversable | None = None) -> None:
        folder = files("central_command.web").joinpath("assets") if folder is None else folder
        contents = {
            each.name: each.read_bytes()
            for each in sorted(folder.iterdir(), key=lambda each: each.name)
            if each.name.rpartition(".")[2] in TYPES
        }
        if sum(map(len, contents.values())) > BYTES_MAX:
            raise ValueError(f"What pages load is larger than {BYTES_MAX:,} bytes.")
        digest = hashlib.sha256()
        for name, content in contents.items():
            digest.update(b"%s %d\n%s" % (name.encode(), len(content), content))
        self.version = digest.hexdigest()[:16]
        self._assets = {
            name: Asset(TYPES[name.rpartition(".")[2]], content, gzip.compress(content, 9, mtime=0))
            for name, content in contents.items()
        }

    def __repr__(self) -> str:
        return f"<Bundle {self.version}: {len(self._assets)} files>"

    def path(self, name: str) -> str:
        """Where a file is; KeyError for one that there is not."""
        self._assets[name]
        return f"{ASSETS_PATH}/{self.version}/{name}"

    def names(self) -> list[str]:
        """All files."""
        return [*self._assets]

    def routes(self) -> Blueprint:
        """What hands them out, to whoever asks: a sign-in page loads them, too."""
        routes = Blueprint("assets", __name__)

        @routes.get(f"{ASSETS_PATH}/<version>/<name>")
        async def asset(version: str, name: str) -> Response:
            found = self._assets.get(name)
            if found is None:
                raise ProblemError(HttpProblem(HTTPStatus.NOT_FOUND, "not_found", "There is no such file."))
            is_current = version == self.version
            headers = {
                "Cache-Control": _UNCHANGING if is_current else _ASKED_AGAIN,
                "ETag": f'"{self.version}"',
                "Vary": "Accept-Encoding",
            }
            if self.version in _ETAG.findall(request.headers.get("If-None-Match", "")):
                return Response(b"", HTTPStatus.NOT_MODIFIED, headers, content_type=found.content_type)
            if request.accept_encodings.quality("gzip") <= 0:
                return Response(found.content, HTTPStatus.OK, headers, content_type=found.content_type)
            headers["Content-Encoding"] = "gzip"
            return Response(found.compressed, HTTPStatus.OK, headers, content_type=found.content_type)

        return routes


def vendored() -> list[Vendored]:
    """What others have written of the files."""
    text = files("central_command.web").joinpath("assets", VENDORED).read_text()
    return msgspec.convert(tomllib.loads(text)["files"], list[Vendored])
