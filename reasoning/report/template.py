"""Files that can't be broken by what they show: templates make all that enters them inert.

Models and files write most of a report's text; none of it may become a tag, an attribute or a character that reorders
what is read.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reasoning.core.text import printable, shortened
from reasoning.report.document import Block

Writer = Callable[[Any], Any]
"""A value as it enters a template; what it doesn't return as Markup is escaped for HTML."""


def render(template: str, writer: Writer, **values: object) -> Markup:
    """What a template of ``templates/`` makes of the values; equal ones give equal bytes."""
    return Markup(environment(writer).get_template(template).render(values))


@cache
def environment(writer: Writer) -> Environment:
    """How templates are read: ``writer`` writes every value, and ``block is grid`` asks for a kind of block."""
    made = Environment(
        loader=PackageLoader("reasoning.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=writer,
    )
    made.globals["shortened"] = shortened
    for kind in get_args(Block):
        made.tests[kind.__name__.lower()] = lambda value, kind=kind: isinstance(value, kind)
    return made


def in_html(value: Any) -> Any:
    """Texts without control characters, numbers without digits that nobody sees."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
