"""HTML and SVG that can't be broken by what it shows: text enters as an escaped string, tags only through ``element``.

Models and files write most of a report's text; none of it may become a tag, an attribute or a character that reorders
what is read.
"""

from dataclasses import dataclass
from html import escape

from reasoning.report.text import printable

EMPTY_ELEMENTS = frozenset({"br", "col", "hr", "link", "meta", "circle", "line", "path", "polyline", "rect"})
"""Elements that are closed where they open when they hold nothing."""


@dataclass(frozen=True)
class Markup:
    """Source text that is safe as it stands; only the functions of this module make it from text of others."""

    source: str


Child = Markup | str


def element(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """One element; strings among the children become text. Attributes that are None are left out.

    A trailing ``_`` of an attribute's name is dropped and others become ``-``: ``class_``, ``stroke_width``.
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = joined(*children).source
    if not inner and tag in EMPTY_ELEMENTS:
        return Markup(f"<{tag}{given}/>")
    return Markup(f"<{tag}{given}>{inner}</{tag}>")


def joined(*children: Child) -> Markup:
    """Several pieces one after the other."""
    return Markup("".join(child.source if isinstance(child, Markup) else text(child).source for child in children))


def text(value: str) -> Markup:
    """A text as itself: escaped, without control characters and marks that reorder it."""
    return Markup(escape(printable(value), quote=True))


def attribute(value: str | float) -> str:
    """An attribute's value, quotes escaped; numbers without needless digits, so that equal numbers give equal bytes."""
    if isinstance(value, str):
        return text(value).source
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
