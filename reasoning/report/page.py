"""The report as one HTML file that needs nothing else: no script, no network, one style block that its policy names."""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from reasoning.report import curves_svg, graph_svg
from reasoning.report.document import Block, Bullets, Cell, Code, Curves, Grid, Heading, Paragraph, Report, Section
from reasoning.report.graph import Workflow
from reasoning.report.markup import Markup, element, joined

POLICY = "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"


def page(report: Report) -> str:
    """The whole file. Equal reports give equal bytes."""
    style = files("reasoning.report").joinpath("page.css").read_text(encoding="utf-8")
    policy = POLICY.format(style=b64encode(sha256(style.encode()).digest()).decode())
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", report.title),
        element("style", Markup(style)),
    )
    contents = [element("li", element("a", section.title, href=f"#{section.anchor}")) for section in report.sections]
    main = element(
        "main",
        element("h1", report.title),
        element("nav", element("ul", *contents), aria_label="Contents"),
        *(_section(section) for section in report.sections),
    )
    return "<!doctype html>\n" + element("html", head, element("body", main), lang="en").source + "\n"


def _section(section: Section) -> Markup:
    link = element("a", "#", href=f"#{section.anchor}", class_="anchor", aria_label=f"Link to {section.title}")
    heading = element("h2", section.title, " ", link)
    return element("section", heading, *(_block(block) for block in section.blocks), id=section.anchor)


def _block(block: Block) -> Markup:
    if isinstance(block, Paragraph):
        return element("p", _kept(block.text))
    if isinstance(block, Heading):
        return element("h3", block.text)
    if isinstance(block, Bullets):
        return _bullets(block)
    if isinstance(block, Code):
        listing = element("pre", element("code", block.text))
        return _folded(block.title, listing) if block.title else listing
    if isinstance(block, Curves):
        charts = (curves_svg.drawn(chart) for chart in block.charts)
        small = " small" if len(block.charts) == 1 else ""
        inner = element("h3", block.stage), element("div", *charts, class_="charts")
        return element("div", *inner, class_=f"stage{small}")
    if isinstance(block, Workflow):
        return _workflow(block)
    return _grid(block)


def _bullets(block: Bullets) -> Markup:
    items = (
        element("li", element("b", subject), ": ", _kept(text)) if subject else element("li", text)
        for subject, text in block.items
    )
    return element("ul", *items, class_="missing" if block.warning else "told")


def _workflow(flow: Workflow) -> Markup:
    note = (
        "Solid arrows carry weights, dashed ones data. Intervals under scores are 95 %; a reward or loss is the mean "
        "of the first and of the last fifteenth of the steps. Exams measured the checkpoints that they name."
    )
    return joined(graph_svg.drawn(flow), element("p", note, class_="note"))


def _grid(grid: Grid) -> Markup:
    over = [element("th", _broken(name), scope="colgroup", colspan=size) for name, size in grid.groups]
    groups = element("tr", element("td", ""), *over, class_="groups") if over else ""
    head = element("tr", *(element("th", _broken(name), scope="col") for name in grid.columns))
    rows = (
        element("tr", _field(row[0], "th", scope="row"), *(_field(cell, "td") for cell in row[1:])) for row in grid.rows
    )
    table = element(
        "table",
        element("thead", groups, head),
        element("tbody", *rows),
        class_="numbers" if grid.numeric else "words",
        aria_label=grid.caption,
    )
    box = element("div", table, class_="scroll", tabindex="0", role="region", aria_label=grid.caption)
    # The title stands outside of the box, or it would scroll out of sight with the columns.
    return _folded(grid.caption, box) if grid.folded else joined(element("p", grid.caption, class_="caption"), box)


def _field(cell: Cell, tag: str, scope: str | None = None) -> Markup:
    text = element("span", cell.text, class_="quoted") if cell.quoted else cell.text
    detail = (element("small", cell.detail),) if cell.detail else ()
    return element(tag, text, *detail, scope=scope, class_=cell.tone or None)


def _broken(name: str) -> Markup:
    """A score's name, which may be broken after its slash and before its number."""
    pieces = re.split(r"(?<=/)|(?=@)", name)
    return joined(pieces[0], *(joined(Markup("<wbr>"), piece) for piece in pieces[1:]))


def _kept(text: str) -> str:
    """Prose whose numbers stay on one line with their percent signs."""
    return text.replace(" %", "\u00a0%")


def _folded(title: str, inner: Markup) -> Markup:
    return element("details", element("summary", title), inner)
