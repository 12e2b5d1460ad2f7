"""What stands in an agent's events: every member may be missing or of another type, and nothing here raises."""

from collections.abc import Iterator
from datetime import UTC, datetime

from central_command.client.contract.steps import NAME_CHARS_MAX, JsonObject, json_text
from central_command.client.transcripts.reader import decode_json

_MILLISECONDS_FROM = 10**12
_COUNT_MAX = 2**53 - 1
_TEXTS = frozenset({"text", "input_text", "output_text", "summary_text", "reasoning_text", "Text"})
_CIPHERTEXT = "encrypted_"
_MEDIA = frozenset({"image", "document", "audio", "input_image", "local_image", "inlineData", "fileData"})


def text_of(value: object) -> str:
    """The value if it is text, else nothing."""
    return value if isinstance(value, str) else ""


def name_of(value: object) -> str:
    """The value if it is text, cut to what a name or an id may have, else nothing."""
    return text_of(value)[:NAME_CHARS_MAX]


def visible_text(value: object) -> str:
    """The value if it is text with anything to see in it, else nothing."""
    text = text_of(value)
    return "" if not text or text.isspace() else text


def count_of(value: object) -> int:
    """The value if it is a positive integer that JavaScript could have counted to, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _COUNT_MAX else 0


def object_of(value: object) -> JsonObject:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[JsonObject]:
    """The objects in the value if it is a list, else none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def seconds_of(value: object) -> float | None:
    """A time in seconds since the epoch, rounded to milliseconds; None for what is no time."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp(), 3)
        except (ValueError, OverflowError):
            return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MILLISECONDS_FROM * 10:
        return round(value / 1000 if value >= _MILLISECONDS_FROM else float(value), 3)
    return None


def parsed_arguments(value: object) -> object:
    """Arguments that a model wrote as JSON text, read as a line is; text that is no object is `{"input": text}`."""
    if not isinstance(value, str):
        return {} if value is None else value
    parsed = decode_json(value.encode("utf-8", "surrogatepass"))
    return parsed if isinstance(parsed, dict) else {"input": value} if value else {}


def content_text(content: object) -> str:
    """The text of a message or of a tool's result: text as it is, blocks joined by newlines, the rest as JSON.

    Images and other media are a placeholder with their type, never their bytes. Members that hold ciphertext
    (`encrypted_content` of a search result and the like) are left out.
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(_parts(content))
    return _part(content)


def _parts(content: list[object]) -> Iterator[str]:
    for part in content:
        yield part if isinstance(part, str) else _part(part)


def _part(part: object) -> str:
    if isinstance(part, dict):
        kind = text_of(part.get("type"))
        if kind in _TEXTS or (not kind and isinstance(part.get("text"), str)):
            return text_of(part.get("text"))
        if kind == "web_search_result":
            return "\n".join(text for name in ("title", "url", "page_age") if (text := text_of(part.get(name))))
        if document := _document_text(part):
            return document
        if kind in _MEDIA or "inlineData" in part or "fileData" in part:
            return media_text(part)
        if kind:
            return json_text({name: _readable(value) for name, value in _without_ciphertext(part).items()})
    return json_text(part)


def _document_text(part: JsonObject) -> str:
    """Title and text of a document that is given as text, such as a page that was fetched."""
    source = object_of(part.get("source"))
    if part.get("type") != "document" or source.get("type") != "text":
        return ""
    return f"{text_of(part.get('title'))}\n{text_of(source.get('data'))}".strip()


def _readable(value: object) -> object:
    """A member of a block of the model's own format, without what nobody can read in the blocks that it holds."""
    if isinstance(value, list):
        return [_without_ciphertext(each) if isinstance(each, dict) else each for each in value]
    if isinstance(value, dict):
        return _document_text(value) or _without_ciphertext(value)
    return value


def _without_ciphertext(part: JsonObject) -> JsonObject:
    return {name: value for name, value in part.items() if not name.startswith(_CIPHERTEXT)}


def media_text(part: JsonObject) -> str:
    """The placeholder for an image or another block that is no text, such as `[image: image/png]`."""
    holder: JsonObject = {}
    for name in ("source", "inlineData", "fileData"):
        holder = holder or object_of(part.get(name))
    url = text_of(part.get("image_url"))
    of_url = url[5:].split(";", 1)[0] if url.startswith("data:") else ""
    known = text_of(holder.get("media_type") or holder.get("mimeType") or part.get("mimeType")) or of_url
    kind = text_of(part.get("type"))
    name = kind if kind in {"image", "document", "audio"} else "image" if "image" in kind else known.split("/")[0]
    return f"[{(name or 'file')[:NAME_CHARS_MAX]}: {known[:NAME_CHARS_MAX] or 'unknown type'}]"
