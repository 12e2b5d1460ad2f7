"""Texts of journal lines, framed here from the description of the format alone."""

import zlib

AT = "2026-11-20T10:12:17.123456Z"
HMAC = "ab" * 32


def framed(members: str, *, n: int = 12, batch: int = 10, extra: str = "", at: str = AT) -> bytes:
    text = f'{{{members},"received":{{"n":{n},"at":"{at}","batch":{batch}{extra}}}'.encode()
    return text + b',"crc32":"%08x"}\n' % zlib.crc32(text)


def attestation(sequence: int = 3) -> str:
    return f'"attestation":{{"session_hmac":"{HMAC}","sequence":{sequence},"app_version_hash":"cd"}}'


CHUNK = (
    '"envelope_id":"env_1","session_id":"sess_1","chunk_sequence":2,"contributor_id":"c0ffee",'
    + attestation()
    + ',"metadata":{"provider":"codex","model_engine":"gpt-5.5","received":{"n":1}},'
    '"trajectory_log":[{"step":1,"content":"\\ud83d lone, and ,\\"received\\":{\\"n\\":7"},{"step":2}]'
)
SERVER_CLOSE = '"envelope_id":"env_4","session_id":"sess_1","type":"SERVER_CLOSE","closed_by":"abandoned"'
