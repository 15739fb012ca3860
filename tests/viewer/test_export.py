import json
import re
from base64 import b64encode
from hashlib import sha256
from html import unescape

import pytest

from reasoning.viewer.answers import Answers
from reasoning.viewer.export import exported, question


@pytest.fixture(scope="module")
def page(run):
    return exported(Answers(run))


def test_its_policy_allows_its_own_script_and_style_by_their_hashes_and_nothing_else(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None and "unsafe" not in policy[1] and "'self'" not in policy[1]
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert f"{tag}-src 'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" in unescape(policy[1])
    assert set(re.findall(r'(?:href|src)="([^"#]+)', page)) == {"data:,"}


def test_it_holds_the_answers_to_what_is_asked_first(page, run):
    [data] = re.findall(r'<script type="application/json" id="answers">(.*?)</script>', page, re.DOTALL)
    given = json.loads(data)
    answers = Answers(run)
    assert len(given["stages?"]["stages"]) == len(answers.stages({})["stages"])
    pages = [(key, name) for key in given for name in ("rows", "problems") if key.startswith(f"{name}?")]
    assert {key.rpartition("=")[2] for key, name in pages if name == "rows"} == {
        str(step) for stage in given["stages?"]["stages"] for step in stage["steps"]
    }
    for key, name in pages:  # All that is offered opens.
        asked = dict(part.split("=") for part in key.partition("?")[2].split("&"))
        single, number = ("row", "row") if name == "rows" else ("problem", "number")
        offered = [question(single, asked | {single: str(each[number])}) for each in given[key][name]]
        assert offered and given[key]["page"] == 16 and {*offered} <= {*given}
    key = question("rows", {"step": "45", "stage": "zero"})
    assert key == "rows?stage=zero&step=45" and given[key]["total"] == 96
    assert {"row?row=0&stage=zero&step=1", "problem?problem=3&stage=exam", "metrics?stage=r1"} <= set(given)


def test_equal_runs_give_equal_bytes(page, run):
    assert exported(Answers(run)) == page
