"""Templates made into HTML: everything that is put in is escaped, and what is missing is an error."""

from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from central_command.markup.visible import visible
from central_command.web import figures
from central_command.web.bundle import Bundle

TEMPLATES_MAX: Final = 200
"""Compiled templates in memory; there are fewer."""


class Renderer:
    """The templates of the pages, with what each of them may use."""

    def __init__(self, bundle: Bundle) -> None:
        self._environment = Environment(
            loader=PackageLoader("central_command.web"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            cache_size=TEMPLATES_MAX,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["asset"] = bundle.path
        self._environment.filters |= {
            "number": figures.number,
            "counted": figures.counted,
            "short_number": figures.short_number,
            "size": figures.size,
            "duration": figures.duration,
            "percentage": figures.percentage,
            "time": figures.time_element,
            "visible": visible,
            "words": figures.words,
        }

        for name in self._environment.list_templates():
            self._environment.get_template(name)  # compiled now, not while somebody's envelope waits

    def __repr__(self) -> str:
        return f"<Renderer of {len(self._environment.list_templates())} templates>"

    def templates(self) -> list[str]:
        """The names of all templates."""
        return self._environment.list_templates()

    def html(self, template: str, values: dict[str, Any]) -> str:
        """A template with its values; raises jinja2's errors, which are mistakes of ours."""
        return self._environment.get_template(template).render(values)
