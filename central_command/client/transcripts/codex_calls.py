"""How Codex writes down what tool the model called, and with what: one kind of response item for each kind of tool."""

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.json_values import name_of, object_of, parsed_arguments, text_of

_STANDARD_MEMBERS = frozenset({"type", "id", "call_id", "status", "metadata", "execution"})


def read_call(kind: str, item: JsonObject) -> tuple[str, object]:
    """The tool of a call and its arguments; a kind that is not known keeps its members as arguments."""
    match kind:
        case "function_call":
            namespace, name = text_of(item.get("namespace")), text_of(item.get("name"))
            tool = f"{namespace}{'' if not namespace or namespace.endswith('__') else '__'}{name}"
            return name_of(tool), parsed_arguments(item.get("arguments"))
        case "custom_tool_call":
            return name_of(item.get("name")), parsed_arguments(item.get("input"))
        case "local_shell_call" | "web_search_call":
            return kind.removesuffix("_call"), object_of(item.get("action"))
        case "image_generation_call":
            return "image_generation", {"revised_prompt": item.get("revised_prompt")}
        case _:
            arguments = {
                name: value
                for name, value in item.items()
                if name not in _STANDARD_MEMBERS and not name.startswith("internal_")
            }
            return kind.removesuffix("_call"), arguments.get("arguments", arguments)
