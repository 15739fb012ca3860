import json

import pytest
from written_run import HOSTILE, workflow

from reasoning.core.errors import InputError
from reasoning.core.text import printable
from reasoning.findings.rollout_pages import Condition, Wanted
from reasoning.viewer.answers import PAGE, Answers, json_lines, json_of, routes, wanted_of, whole_number


@pytest.fixture(scope="module")
def answers(run):
    return Answers(run)


def test_every_stage_says_what_there_is_to_look_at(answers):
    told = answers.stages({})
    assert told["run"] == "run" and [each["name"] for each in told["stages"]] == [each.name for each in workflow()]
    by_name = {each["name"]: each for each in told["stages"]}
    assert by_name["zero"]["steps"] == [1, 15, 45] and by_name["zero"]["kind"] == "GRPO"
    assert by_name["exam"]["samples"] and not by_name["exam"]["metrics"] and by_name["base"]["metrics"]


def test_curves_have_every_step(answers):
    series = answers.metrics({"stage": "zero"})["series"]
    assert [point[0] for point in series["reward"]["raw"]] == list(range(1, 46))
    assert set(series) > {"entropy", "rewards/strict/mean"}


def test_a_page_of_rollouts_is_filtered_sorted_and_cut_into_pages(answers):
    query = {"stage": "zero", "step": "15", "where": "strict=1", "sort": "length", "order": "highest"}
    page = answers.rows(query)
    assert page["total"] == 32 and len(page["rows"]) == PAGE
    lengths = [row["length"] for row in page["rows"]]
    assert lengths == sorted(lengths, reverse=True)
    assert answers.rows({"stage": "zero", "step": "all", "first": "280"})["rows"][-1]["step"] == 45
    rows = list(answers.selection(query))
    assert len(rows) == 32 and all(len(row["sampler_log_probs"]) == row["length"] for row in rows)


def test_a_row_without_a_tokenizer_is_shown_without_tokens(answers):
    row = answers.row({"stage": "zero", "step": "15", "row": "2"})
    assert row["completion"] == HOSTILE and row["tokens"] is None and row["log_prob"] < 0


def test_problems_are_paged_and_shown_with_all_checkpoints(answers):
    page = answers.problems({"stage": "exam", "sort": "spread", "order": "highest"})
    assert page["total"] == 60 and page["names"][-1] == "spread" and len(page["problems"]) == PAGE
    assert len(answers.problem({"stage": "exam", "problem": "3"})["rows"]) == 6 * 4
    assert len(list(answers.selection({"stage": "exam", "where": "problem<2"}))) == 2 * 6 * 4


@pytest.mark.parametrize(
    ("name", "query", "told"),
    [
        ("rows", {"stage": "../zero", "step": "1"}, "no stage '../zero'; there are corpus"),
        ("rows", {"stage": "zero", "step": "2"}, "no rollouts of step 2; there are 1, 15, 45"),
        ("rows", {"stage": "zero", "step": "-1"}, "step='-1' is no whole number"),
        ("rows", {"stage": "zero", "step": "1", "first": "９"}, "is no whole number"),
        ("row", {"stage": "zero", "step": "1", "row": "96"}, "no row 96"),
        ("problem", {"stage": "zero", "problem": "1"}, "zero has no samples.jsonl"),
        ("metrics", {}, "no stage ''"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(answers, name, query, told):
    with pytest.raises(InputError, match=told):
        routes(answers)[name](query)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a run's folder"):
        Answers(tmp_path).stages({})


def test_queries_are_read_into_what_is_wanted():
    assert wanted_of({"where": "a<1", "kind": "k", "sort": "a", "order": "highest"}) == Wanted(
        (Condition("a", "<", 1.0),), "k", "", "a", True
    )
    assert whole_number({}, "first", 7) == 7


def test_json_holds_no_tag_no_control_character_and_no_nan():
    text = json_of({HOSTILE: [HOSTILE, float("nan")]})
    assert "<" not in text and "\u202e" not in text and "\x1b" not in text
    assert json.loads(text) == {printable(HOSTILE): [printable(HOSTILE), None]}
    [line] = json_lines([{"text": HOSTILE, "value": float("inf")}])
    assert json.loads(line) == {"text": HOSTILE, "value": None} and line.endswith(b"\n")
