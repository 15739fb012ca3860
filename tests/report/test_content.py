import json
import shutil
from dataclasses import replace

import pytest
from written_run import place_of, workflow, write_run

from reasoning.report.best_replies import BestReplies
from reasoning.report.content import compose, reward_warnings, total_sentence
from reasoning.report.document import Bullets, Code, Grid, Heading, Paragraph
from reasoning.report.facts import gather
from reasoning.report.rollouts import Completion, CompletionGroup


def section(report, title):
    return next(each for each in report.sections if each.title == title)


def test_sections_come_in_the_order_in_which_they_are_read(facts):
    report = compose(facts)
    assert report.title == "Report of a run: base → r1"
    assert [each.title for each in report.sections] == [
        "What this is", "The workflow", "Scores", "Differences", "How to read this", "Curves", "Probe problems",
        "Replies side by side", "Totals", "Settings",
    ]  # fmt: skip


def test_it_begins_with_what_the_run_did_and_how_to_repeat_it(facts):
    blocks = section(compose(facts), "What this is").blocks
    first = blocks[0]
    assert isinstance(first, Paragraph) and first.text.startswith("A run of 20 stages that trained base, zero, cold")
    assert first.text.count(". ") == 1 and "Lenient pass@1 is 0.28 (95 % interval " in first.text
    assert Code("python -m reasoning run resolved.gin --out ANOTHER_FOLDER") in blocks
    versions = blocks[-1]
    assert isinstance(versions, Grid)
    assert {row[0].text: row[1].text for row in versions.rows} == {
        "seed": "0", "reasoning": "0.1.0 (commit 0123456789ab)", "devices": "2 × cpu", "python": "3.11.7",
        "jax": "0.10.2",
    }  # fmt: skip


def test_what_is_missing_is_said_near_the_top(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    (place_of(folder, "students") / "results.json").write_text("{")
    blocks = section(compose(gather(folder)), "What this is").blocks
    at = blocks.index(Heading("What is missing"))
    warning = blocks[at + 1]
    assert at == 1 and isinstance(warning, Bullets) and warning.warning and "results.json:1" in warning.items[0][1]


def test_parts_that_a_run_does_not_have_are_left_out(tmp_path):
    report = compose(gather(write_run(tmp_path / "run", [])))
    assert [each.title for each in report.sections] == ["What this is"] and report.title == "Report of a run"


@pytest.mark.parametrize(("stages", "begins"), [(workflow()[:1], "A run of one stage."), ([], "A run of 0 stages.")])
def test_a_run_that_trained_and_examined_nothing_says_no_more_than_its_size(tmp_path, stages, begins):
    first = section(compose(gather(write_run(tmp_path / "run", stages))), "What this is").blocks[0]
    assert first == Paragraph(begins)


def test_settings_are_spelled_out_by_stage_part_by_part(facts):
    blocks = section(compose(facts), "Settings").blocks
    assert len(blocks) == len(facts.stages)
    zero = blocks[2]
    assert isinstance(zero, Code) and zero.title.startswith("zero (GRPO, artifacts/zero-")
    lines = zero.text.splitlines()
    assert "optimizer = @training.optimizers.AdamW" in lines and "optimizer.learning_rate = 0.0005" in lines
    assert 'start = ["base"]' in lines


def test_records_of_another_shape_are_reported_as_far_as_they_go(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    for name, broken in (("zero", {"environments": [3]}), ("cold", {"environments": {}}), ("rl1", {"settings": 4})):
        file = place_of(folder, name) / "artifact.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | broken))
    report = compose(gather(folder))
    assert len(section(report, "Settings").blocks) == 19


def test_rewards_have_a_section_where_one_jumped_alone_or_replies_were_kept(facts):
    zero = facts.stage("zero")
    rows = tuple(
        {"step": step, "rewards/strict/mean": 0.4 + 0.01 * (step % 3), "rewards/bonus/mean": 0.8 * (step > 30)}
        for step in range(1, 51)
    )
    fooled = replace(facts, stages=(replace(zero, metrics=rows, record={}),))
    [heading, warning] = section(compose(fooled), "Rewards").blocks
    assert heading == Heading("Rewards that jumped alone") and isinstance(warning, Bullets) and warning.warning
    [(stage, sentence)] = warning.items
    assert stage == "zero" and sentence.startswith("bonus jumped from 0.00 to 0.80 about step 31")
    assert reward_warnings(fooled) == warning.items and not reward_warnings(facts)
    reply = Completion("#3", "=1", 1.0, {"strict": 1.0}, reasons={"strict": ("passed", None, "")})
    best = BestReplies(45, {"strict": (CompletionGroup(7, "1+0?", "1", "sums", [reply]),)})
    [lead, grid] = section(compose(replace(facts, stages=(replace(zero, best=best),))), "Rewards").blocks
    assert isinstance(lead, Paragraph) and isinstance(grid, Grid) and len(grid.rows) == 1
    assert "strict: passed" in grid.rows[0][2].detail


def test_totals_are_told_in_a_sentence(facts):
    assert total_sentence(facts).startswith("In all 7.69 M tokens and 15.7 T FLOPs")


def test_chosen_replies_replace_the_usual_ones(facts):
    grids = [
        block
        for block in section(compose(facts, ("llama_weak",)), "Replies side by side").blocks
        if isinstance(block, Grid)
    ]
    assert [grid.columns for grid in grids] == [("problem", "llama_weak")]
