"""The report as one HTML file that needs nothing else: no script, no network, one style block that its policy names."""

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from reasoning.findings.curves import Chart
from reasoning.findings.graph import Workflow
from reasoning.report import charts_svg, graph_svg, rows_svg
from reasoning.report.document import Bars, Dots, Report, anchor
from reasoning.report.template import in_html, render

_DRAWN: dict[type, Callable[[Any], Markup]] = {
    Chart: charts_svg.chart,
    Dots: rows_svg.dots,
    Bars: rows_svg.bars,
    Workflow: graph_svg.drawn,
}


def page(report: Report) -> str:
    """The whole file. Equal reports give equal bytes."""
    style = files("reasoning.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    return render(
        "page.html",
        in_html,
        report=report,
        style=Markup(style),
        digest=digest(style),
        anchor=anchor,
        pieces=_pieces,
        drawn=lambda shown: _DRAWN[type(shown)](shown),
    )


def digest(text: str) -> str:
    """By what a policy names a style or a script that stands in its page."""
    return b64encode(sha256(text.encode()).digest()).decode()


def _pieces(name: str) -> list[str]:
    """A score's name, which may be broken after its slash and before its number."""
    return re.split(r"(?<=/)|(?=@)", name)
