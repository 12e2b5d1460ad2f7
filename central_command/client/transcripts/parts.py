"""What tools gave, in the parts of Google's message format, as Gemini CLI and agents made from it write them."""

from central_command.client.transcripts.json_values import content_text, object_of


def result_of(result: object) -> tuple[str, bool]:
    """The text of a tool's result and whether it failed: what its responses hold, and the parts beside them."""
    if not isinstance(result, list):
        return content_text(result), False
    texts: list[str] = []
    failed = False
    for part in result:
        response = object_of(object_of(part).get("functionResponse")).get("response")
        if isinstance(response, dict):
            failed = failed or ("error" in response and bool(response.get("error")))
            known = response.get("error") or response.get("output", response)
            texts.append(content_text(known))
        else:
            texts.append(content_text([part]))
    return "\n".join(text for text in texts if text), failed
