"""The viewer as one file that needs no server: the same page with the answers to what is asked first."""

from collections.abc import Iterator, Mapping
from typing import Any

from reasoning.findings.curves import spaced
from reasoning.report.page import digest
from reasoning.viewer.answers import Answers, json_of, routes
from reasoning.viewer.server import page_file

_STEPS, _ROWS, _PROBLEMS = 4, 16, 16
"""Of each stage: how many steps, evenly spaced, how many rollouts of each, and how many problems of an exam."""


def exported(answers: Answers) -> str:
    """The page. Equal runs give equal bytes; filters, further pages and other steps are only in the live one."""
    given = {question(path, query): routes(answers)[path](query) for path, query in _questions(answers)}
    style, script = page_file("viewer.css"), page_file("viewer.js")
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; style-src 'sha256-{digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        '<link rel="stylesheet" href="viewer.css"/>': f"<style>{style}</style>",
        '<script src="viewer.js" defer></script>': "",
        "<head>": f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}"/>',
        "</body>": f'<script type="application/json" id="answers">{json_of(given)}</script>\n'
        f"<script>{script}</script>\n</body>",
    }
    page = page_file("index.html")
    for old, new in parts.items():
        before, _, after = page.partition(old)
        page = f"{before}{new}{after}"
    return page


def question(path: str, query: Mapping[str, str]) -> str:
    """The name of an answer, as the page makes it too."""
    return f"{path}?{'&'.join(f'{name}={value}' for name, value in sorted(query.items()))}"


def _questions(answers: Answers) -> Iterator[tuple[str, dict[str, str]]]:
    yield "stages", {}
    for stage in answers.stages({})["stages"]:
        own = {"stage": stage["name"]}
        if stage["metrics"]:
            yield "metrics", own
        steps = [stage["steps"][place] for place in spaced(len(stage["steps"]), _STEPS)]
        for step in steps:
            at: dict[str, Any] = own | {"step": str(step)}
            yield "rows", at
            for row in answers.rows(at)["rows"][:_ROWS]:
                yield "row", at | {"row": str(row["row"])}
        if stage["samples"]:
            yield "problems", own
            for problem in answers.problems(own)["problems"][:_PROBLEMS]:
                yield "problem", own | {"problem": str(problem["number"])}
