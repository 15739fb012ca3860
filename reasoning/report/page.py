"""The report as one HTML file that needs nothing else: no script, no network, one style block that its policy names."""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from markupsafe import Markup

from reasoning.report import charts_svg, graph_svg, rows_svg
from reasoning.report.document import Report
from reasoning.report.template import in_html, render


def page(report: Report) -> str:
    """The whole file. Equal reports give equal bytes."""
    style = files("reasoning.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    return render(
        "page.html",
        in_html,
        report=report,
        style=Markup(style),
        digest=digest(style),
        pieces=_pieces,
        chart=charts_svg.chart,
        dots=rows_svg.dots,
        bars=rows_svg.bars,
        frontier=charts_svg.frontier,
        graph=graph_svg.drawn,
    )


def digest(text: str) -> str:
    """By what a policy names a style or a script that stands in its page."""
    return b64encode(sha256(text.encode()).digest()).decode()


def _pieces(name: str) -> list[str]:
    """A score's name, which may be broken after its slash and before its number."""
    return re.split(r"(?<=/)|(?=@)", name)
