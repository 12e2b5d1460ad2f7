"""hypercorn's configuration, made from the settings, with what hypercorn does not have."""

import logging
import os
import ssl
from pathlib import Path

from hypercorn.config import Config

from central_command.http.connections.repeated import AnswerHeads
from central_command.http.settings import HttpSettings, HttpSettingsError
from persistence.files.regular import open_file

_H2_STREAMS_MAX = 32

logger = logging.getLogger("central_command.http")


class ServerConfig(Config):
    """hypercorn's settings, and those that it does not have."""

    listen_host: str
    listen_port: int
    connections_max: int
    write_timeout_s: float
    answer_heads: AnswerHeads
    tls: ssl.SSLContext | None = None
    """What TLS is spoken with; `reread_tls` gives it other files, which the next connections see."""


def hypercorn_config(settings: HttpSettings) -> ServerConfig:
    """The server's configuration; raises HttpSettingsError when the TLS files do not work."""
    config = ServerConfig()
    config.listen_host = settings.host
    config.listen_port = settings.port
    config.connections_max = settings.connections_max
    config.write_timeout_s = settings.write_timeout_s
    config.backlog = settings.backlog
    config.keep_alive_timeout = settings.keep_alive_s
    config.keep_alive_max_requests = settings.keep_alive_requests_max
    config.read_timeout = settings.read_timeout_s  # type: ignore[assignment] # any number of seconds will do
    config.ssl_handshake_timeout = settings.tls_handshake_timeout_s
    config.h11_max_incomplete_size = settings.headers_bytes_max
    config.h2_max_header_list_size = settings.headers_bytes_max
    config.h2_max_concurrent_streams = _H2_STREAMS_MAX
    config.graceful_timeout = settings.graceful_timeout_s
    config.alpn_protocols = ["h2", "http/1.1"] if settings.http2 else ["http/1.1"]
    config.include_server_header = False
    config.accesslog = None  # request_log writes the one line a request
    config.errorlog = logger
    config.answer_heads = AnswerHeads(lambda: config.response_headers("h11"))
    _set_tls(config, settings)
    return config


def reread_tls(config: ServerConfig, settings: HttpSettings) -> bool:
    """Read certificate and key again, from the files of these settings; False where there is no TLS.

    Raises HttpSettingsError when they do not work, and then the old ones stay.
    """
    if config.tls is None or settings.tls_certificate is None:
        return False
    _set_tls(ServerConfig(), settings)  # in a context of its own first: a half-read pair would end all handshakes
    try:
        config.tls.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except (ssl.SSLError, OSError, ValueError) as problem:
        raise HttpSettingsError(f"{settings.tls_certificate} changed while it was read: {problem}.") from problem
    return True


def _set_tls(config: ServerConfig, settings: HttpSettings) -> None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        absent = "http.tls_certificate" if certificate is None else "http.tls_key"
        raise HttpSettingsError(f"TLS needs both http.tls_certificate and http.tls_key, but {absent} is not set.")
    for name, path in (("http.tls_certificate", certificate), ("http.tls_key", key)):
        try:
            os.close(open_file(Path(path), follows_links=True))
        except OSError as problem:
            raise HttpSettingsError(f"{name}: {path} cannot be read: {problem.strerror}.") from problem
    config.certfile, config.keyfile = certificate, key
    config.keyfile_password = ""  # an encrypted key is refused below instead of asking at the terminal
    try:
        config.tls = config.create_ssl_context()
    except (ssl.SSLError, OSError, ValueError) as problem:
        sentence = f"{certificate} and {key} are no PEM certificate with its own unencrypted private key."
        raise HttpSettingsError(f"http.tls_certificate, http.tls_key: {sentence}") from problem
