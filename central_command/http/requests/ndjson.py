"""Bodies of several lines, each with a JSON text."""

from http import HTTPStatus

from central_command.http.requests.replies import HttpProblem


def lines_of(body: bytes, *, lines_max: int, of: str, code: str) -> list[bytes] | HttpProblem:
    """The lines of a body, without their ends; a last line may have none. `of` is what a line holds, in the singular.

    `code` is that of a body without a line.
    """
    # One more than there may be, to see that there are too many. `split` looks at every byte; `find` does not.
    lines: list[bytes] = []
    start = 0
    while start < len(body) and len(lines) <= lines_max:
        end = body.find(b"\n", start)
        if end < 0:
            end = len(body)
        lines.append(body[start:end])
        start = end + 1
    if not lines:
        return HttpProblem(HTTPStatus.BAD_REQUEST, code, f"The body holds no {of}.")
    if len(lines) > lines_max:
        sentence = f"The body holds more than {lines_max} lines; send the {of}s in several requests."
        return HttpProblem(HTTPStatus.BAD_REQUEST, "too_many_lines", sentence)
    return [line.removesuffix(b"\r") for line in lines]
