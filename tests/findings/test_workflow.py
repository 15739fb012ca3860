from dataclasses import replace

import pytest

from reasoning.findings.graph import Arrow, connected, depths
from reasoning.findings.workflow import workflow


@pytest.fixture(scope="module")
def flow(facts):
    return workflow(facts.stages, facts.evaluations)


def box(flow, name):
    return next(each for each in flow.boxes if each.name == name)


def test_boxes_carry_the_numbers_that_stages_ended_with(flow, facts):
    score = facts.evaluations[0].checkpoints["zero"]["lenient/pass@1"]
    zero = box(flow, "zero")
    assert (zero.kind, zero.group) == ("GRPO", "model")
    assert zero.lines[:2] == (f"lenient pass@1 {score.mean:.2f}", f"{score.low:.3f}–{score.high:.3f}")
    assert zero.lines[2].startswith("reward 0.") and zero.lines[3] == "540 k tokens"
    assert box(flow, "cold_data").lines == ("kept 200 of 1,024", "25.6 k tokens")
    assert box(flow, "corpus").lines == ("90,100 documents", "1.5 M tokens")


def test_arrows_are_parents_and_say_whether_weights_or_data_go_along(flow):
    assert {arrow for arrow in flow.arrows if arrow.target == "cold"} == {
        Arrow("base", "cold", "weights"), Arrow("cold_rows", "cold", "data"),
    }  # fmt: skip
    assert Arrow("r1", "llama_weak_kl", "weights") in flow.arrows


def test_a_tokenizer_alone_draws_no_arrow_where_another_path_leads(flow):
    assert Arrow("corpus", "cold_rows", "data") not in flow.arrows
    assert Arrow("corpus", "knowledge_data", "data") in flow.arrows


def test_exams_name_what_they_measured_and_have_no_arrows(flow):
    assert not any("exam" in (arrow.source, arrow.target) for arrow in flow.arrows)
    _, exams = connected(flow)
    assert exams[0].lines == ("60 problems", "base", "zero", "cold", "rl1", "sft2", "r1")


def test_every_arrow_leads_down(flow):
    depth = depths(flow)
    assert all(depth[arrow.source] < depth[arrow.target] for arrow in flow.arrows)
    assert depth["corpus"] == 0 and depth["base"] == 1 and depth["zero"] == 2


def test_an_unfinished_stage_is_a_box_that_says_so(facts):
    stages = (*facts.stages[:1], replace(facts.stages[1], artifact=None))
    found = box(workflow(stages, ()), "base")
    assert (found.group, found.lines) == ("unfinished", ("not finished",))


def test_without_an_exam_a_model_still_shows_how_it_learnt(facts):
    [found] = workflow([facts.stage("llama_weak_kl")], ()).boxes
    assert found.lines[0].startswith("kl 1.") and len(found.lines) == 2
