"""HTML and SVG that can't be broken by what they show: templates escape all that enters them.

Models and files write most of a report's text; none of it may become a tag, an attribute or a character that reorders
what is read.
"""

from functools import cache
from typing import Any, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reasoning.report.document import Block
from reasoning.report.text import printable, shortened


def render(template: str, **values: object) -> Markup:
    """What a template of ``templates/`` makes of the values; equal values give equal bytes."""
    return Markup(environment().get_template(template).render(values))


@cache
def environment() -> Environment:
    """How templates are read: everything is escaped, and ``block is grid`` asks for a kind of block."""
    made = Environment(
        loader=PackageLoader("reasoning.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    made.globals["shortened"] = shortened
    for kind in get_args(Block):
        made.tests[kind.__name__.lower()] = lambda value, kind=kind: isinstance(value, kind)
    return made


def _shown(value: Any) -> Any:
    """A value as it enters: texts without control characters, numbers without digits that nobody sees."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
