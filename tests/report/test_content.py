import json
import os
import shutil
from dataclasses import replace

import pytest
from written_run import place_of, workflow, write_run

from reasoning.findings.best_replies import BestReplies
from reasoning.findings.curves import charts
from reasoning.findings.facts import gather
from reasoning.findings.rollouts import Completion, CompletionGroup
from reasoning.report.content import PAGE, TEXT, compose, write
from reasoning.report.document import Bullets, Code, Curves, Glance, Grid, Panel, Paragraph


def section(report, title):
    return next(each for each in report.sections if each.title == title)


def panel(report, stage):
    [found] = [each for each in section(report, "Stages").blocks if isinstance(each, Panel) and each.stage == stage]
    return found


def test_sections_come_in_the_order_in_which_they_are_read(facts):
    report = compose(facts)
    assert report.title == "Report of a run: base → r1"
    assert [each.title for each in report.sections] == [
        "At a glance", "What happened", "Stages", "Scores", "Differences", "How to read this", "Replies side by side",
        "Totals", "How to repeat it",
    ]  # fmt: skip


def test_it_begins_with_the_first_screen_and_ends_with_how_to_repeat_it(facts):
    first = section(compose(facts), "At a glance").blocks[0]
    assert isinstance(first, Glance) and first.ran == "20 stages, 12 checkpoints, 2 exams; seed 0; 2 × cpu"
    blocks = section(compose(facts), "How to repeat it").blocks
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
    blocks = section(compose(gather(folder)), "At a glance").blocks
    warning = blocks[1]
    assert (
        isinstance(warning, Bullets)
        and warning.title == "What is missing"
        and warning.warning
        and "results.json:1" in warning.items[0][1]
    )


def test_parts_that_a_run_does_not_have_are_left_out(tmp_path):
    report = compose(gather(write_run(tmp_path / "run", [])))
    assert [each.title for each in report.sections] == ["At a glance"] and report.title == "Report of a run"


@pytest.mark.parametrize(
    ("stages", "ran"),
    [(workflow()[:1], "1 stage; seed 0; 2 × cpu"), ([], "0 stages"), (workflow()[:2], "2 stages, 1 ")],
)
def test_a_run_that_examined_nothing_says_no_more_than_its_size(tmp_path, stages, ran):
    first = section(compose(gather(write_run(tmp_path / "run", stages))), "At a glance").blocks[0]
    assert isinstance(first, Glance) and first.ran.startswith(ran) and not first.dots
    assert first.verdict.startswith("No exam compared two checkpoints")


def test_a_stages_panel_has_its_sentence_curves_cost_probe_and_settings(facts):
    report = compose(facts)
    assert [each.stage for each in section(report, "Stages").blocks] == [stage.name for stage in facts.stages]
    zero = panel(report, "zero")
    assert zero.title == "zero (GRPO)" and zero.anchor == "stage-zero"
    assert isinstance(zero.blocks[0], Paragraph) and zero.blocks[0].text.startswith("Reinforcement learning alone")
    assert Curves(charts(facts.stage("zero").metrics)) in zero.blocks
    assert Paragraph("Cost: 540 k tokens and 1.12 T FLOPs.") in zero.blocks
    assert any(isinstance(each, Grid) and "probe problems" in each.caption for each in zero.blocks)
    *_, listing, _, command = zero.blocks
    assert command == Code("python -m reasoning view . --at stage=zero")
    assert isinstance(listing, Code) and listing.title.startswith("Settings of zero (GRPO, artifacts/zero-")
    lines = listing.text.splitlines()
    assert "optimizer = @training.optimizers.AdamW" in lines and "optimizer.learning_rate = 0.0005" in lines
    assert 'start = ["base"]' in lines


def test_records_of_another_shape_are_reported_as_far_as_they_go(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    for name, broken in (("zero", {"environments": [3]}), ("cold", {"environments": {}}), ("rl1", {"settings": 4})):
        file = place_of(folder, name) / "artifact.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | broken))
    report = compose(gather(folder))
    listings = [
        each
        for part in section(report, "Stages").blocks
        for each in part.blocks
        if isinstance(each, Code) and each.title
    ]
    assert len(listings) == 19


def test_rewards_are_in_a_panel_where_one_jumped_alone_or_replies_were_kept(facts):
    zero = facts.stage("zero")
    rows = tuple(
        {"step": step, "rewards/strict/mean": 0.4 + 0.01 * (step % 3), "rewards/bonus/mean": 0.8 * (step > 30)}
        for step in range(1, 51)
    )
    fooled = replace(facts, stages=(replace(zero, metrics=rows, record={}),))
    blocks = panel(compose(fooled), "zero").blocks
    [warning] = [block for block in blocks if isinstance(block, Bullets)]
    assert warning.title == "Rewards that jumped alone" and warning.warning
    [(_, sentence)] = warning.items
    assert sentence.startswith("bonus jumped from 0.00 to 0.80 about step 31")
    reply = Completion("#3", "=1", 1.0, {"strict": 1.0}, reasons={"strict": ("passed", None, "")})
    best = BestReplies(45, {"strict": (CompletionGroup(7, "1+0?", "1", "sums", [reply]),)})
    blocks = panel(compose(replace(facts, stages=(replace(zero, best=best),))), "zero").blocks
    [grid] = [each for each in blocks if isinstance(each, Grid) and "best-paid" in each.caption]
    assert len(grid.rows) == 1
    assert "strict: passed" in grid.rows[0][2].detail


def test_chosen_replies_replace_the_usual_ones(facts):
    grids = [
        block
        for block in section(compose(facts, ("llama_weak",)), "Replies side by side").blocks
        if isinstance(block, Grid)
    ]
    assert [grid.columns for grid in grids] == [("problem", "llama_weak")]


def written_reports(folder):
    write(folder, gather(folder))
    return [(folder / name).read_bytes() for name in (PAGE, TEXT)]


def test_equal_runs_in_different_places_at_different_times_give_equal_bytes(written, tmp_path):
    one = shutil.copytree(written, tmp_path / "one")
    other = write_run(tmp_path / "elsewhere" / "other")
    for file in other.rglob("*"):
        os.utime(file, (1, 1))
    (next(other.glob("artifacts/zero-*")) / "timings.jsonl").write_text('{"step": 1, "seconds": 9.87654321}\n')
    assert written_reports(one) == written_reports(other)


def test_a_report_is_replaced_as_a_whole_and_leaves_nothing_else(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    before = {path.name for path in folder.iterdir()}
    (folder / PAGE).write_text("old")
    written_reports(folder)
    assert {path.name for path in folder.iterdir()} == before | {PAGE, TEXT}
    assert (folder / PAGE).read_text().startswith("<!doctype html>")


def test_no_clock_no_speed_and_no_place_enters(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    for content in written_reports(folder):
        text = content.decode()
        assert "123456.789" not in text and str(tmp_path) not in text and os.uname().nodename not in text


def test_a_place_that_cannot_be_written_is_named(facts, tmp_path):
    (tmp_path / PAGE).mkdir()
    with pytest.raises(OSError, match=PAGE):
        write(tmp_path, facts)
