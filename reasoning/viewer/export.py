"""The viewer as one file that needs no server: the same page with the answers to what is asked first."""

from collections.abc import Iterator, Mapping
from typing import Any

from reasoning.findings.curves import spaced
from reasoning.report.page import digest
from reasoning.viewer.answers import Answers, json_of, routes
from reasoning.viewer.server import page_file

_STEPS, _SHOWN = 4, 16
"""Of each stage: how many steps, evenly spaced, and how many rollouts of each, or problems of an exam."""


def exported(answers: Answers) -> str:
    """The page. Equal runs give equal bytes; it offers what it holds: filters and all else are only in the live one."""
    given = {question(path, query): answer for path, query, answer in _given(answers)}
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


def _given(answers: Answers) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """What the page asks, and the answer, without steps, rollouts and problems that it would ask for in vain."""
    told = answers.stages({})
    for stage in told["stages"]:
        stage["steps"] = [stage["steps"][place] for place in spaced(len(stage["steps"]), _STEPS)]
        own = {"stage": stage["name"]}
        if stage["metrics"]:
            yield "metrics", own, answers.metrics(own)
        asked = [("rows", "row", "row", own | {"step": str(step)}) for step in stage["steps"]]
        asked += [("problems", "problem", "number", own)] if stage["samples"] else []
        for page, single, key, query in asked:
            answer = routes(answers)[page](query)
            shown = answer[page][:_SHOWN]
            yield page, query, answer | {page: shown, "page": _SHOWN}
            for each in shown:
                one = query | {single: str(each[key])}
                yield single, one, routes(answers)[single](one)
    yield "stages", {}, told
