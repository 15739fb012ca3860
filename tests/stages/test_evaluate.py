"""Evaluation: the table's numbers are those of the saved replies, and finished parts survive an interruption."""

import math
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import BASE, Surroundings, examine, quiz, reinforce, tune, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.data.chat.format import ChatFormat
from reasoning.generation.prompts import PromptStyle
from reasoning.rewards.accuracy import lenient
from reasoning.rewards.text import extract_answer
from reasoning.stages.evaluate import Evaluate
from reasoning.tasks.chains import Chains
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.training.preemption import Interrupted


@dataclass(frozen=True)
class MoreChains(Chains):
    """Chains under another name: a second kind of problem."""

    def problems(self, split: str, count: int, seed: int) -> tuple[Problem, ...]:
        return tuple(replace(problem, kind="more") for problem in super().problems(split, count, seed + 1))


def first_digit_is_even(completions: list[str], **columns: Any) -> list[float]:
    """A score that a hardly trained model meets now and then, so that the numbers under test are no zeros."""
    digits = [[int(letter) for letter in text if letter.isdigit()] for text in completions]
    return [float(bool(found) and found[0] % 2 == 0) for found in digits]


MIXED = ProblemSet(tasks=(Chains(**tiny_stages.SHORT), MoreChains(**tiny_stages.SHORT)), split="test", count=6)
EXAM = quiz(scores=(first_digit_is_even, lenient), samples=4)
WIDE = {
    "exam": replace(EXAM, problems=MIXED),
    "ks": (2,),
    "votes": (1, 2, 3, 4),
    "beam": 2,
    "prompts": (PromptStyle("direct", opening="<answer>"), PromptStyle("again", instruction="=")),
    "prompt_samples": 2,
}
PARTS = ("greedy", "samples", "beam", "prompt0", "prompt1")


@pytest.fixture(scope="session")
def tuned(workshop: Path, base: Artifact, examples: Artifact) -> Artifact:
    return work(tune(), workshop, {"start": base, "data": examples})


@pytest.fixture(scope="module")
def stage() -> Evaluate:
    return examine(BASE, tune(), exam=EXAM, ks=(2, 4))


@pytest.fixture(scope="module")
def evaluated(workshop: Path, stage: Evaluate, base: Artifact, tuned: Artifact) -> Artifact:
    return work(stage, workshop, {"checkpoints": (base, tuned)})


def test_every_number_of_the_table_follows_from_the_saved_replies(evaluated: Artifact):
    table = read_json(evaluated.path / "results.json")["checkpoints"]
    assert list(table) == ["base", "sft"]
    seen = []
    for checkpoint, scores in table.items():
        rows = [row for row in evaluated.samples() if row["checkpoint"] == checkpoint]
        assert [row["problem"] for row in rows] == [0, 1, 2, 3]
        found = {name: score["mean"] for name, score in scores.items()}
        for name in ("first_digit_is_even", "lenient"):
            greedy = [row["scores"][name] for row in rows]
            right = [row["sample_scores"][name] for row in rows]
            assert found[f"{name}/greedy"] == np.mean(greedy)
            assert math.isclose(found[f"{name}/pass@1"], np.mean(right))
            for k in (2, 4):
                any_of_k = [[max(chosen) for chosen in combinations(four, k)] for four in right]
                assert math.isclose(found[f"{name}/pass@{k}"], np.mean(any_of_k))
        assert math.isclose(found["tagged"], np.mean([row["sample_scores"]["tagged"] for row in rows]))
        assert math.isclose(found["length"], np.mean([row["sample_lengths"] for row in rows]))
        seen += [row["sample_scores"]["first_digit_is_even"] for row in rows]
    assert 0 < np.mean(seen) < 1
    assert {score["n"] for scores in table.values() for score in scores.values()} == {4}


def test_the_saved_scores_are_those_of_the_saved_texts(evaluated: Artifact):
    for row in evaluated.samples():
        assert row["sample_scores"]["first_digit_is_even"] == first_digit_is_even(row["samples"])
        assert row["scores"]["first_digit_is_even"] == first_digit_is_even([row["greedy"]])[0]


def test_intervals_hold_their_means_and_the_artifact_has_the_means(evaluated: Artifact):
    table = read_json(evaluated.path / "results.json")["checkpoints"]
    for checkpoint, scores in table.items():
        for name, score in scores.items():
            assert score["low"] <= score["mean"] <= score["high"]
            assert evaluated.results[f"{checkpoint}/{name}"] == score["mean"]
    assert evaluated.kind == "results" and len(evaluated.results) == 2 * (2 * 4 + 3)


def test_all_checkpoints_are_asked_the_same_held_out_problems(evaluated: Artifact):
    rows = evaluated.samples()
    questions = {name: [row["question"] for row in rows if row["checkpoint"] == name] for name in ("base", "sft")}
    assert questions["base"] == questions["sft"] == [problem.question for problem in tiny_stages.TEST.problems()]


def test_an_evaluation_done_twice_gives_the_same_bytes(
    evaluated: Artifact, stage: Evaluate, base: Artifact, tuned: Artifact, tmp_path: Path
):
    again = work(stage, tmp_path, {"checkpoints": (base, tuned)})
    for name in ("results.json", "samples.jsonl"):
        assert (again.path / name).read_bytes() == (evaluated.path / name).read_bytes()


def test_the_seed_of_the_run_draws_the_samples_and_leaves_the_greedy_replies(
    evaluated: Artifact, stage: Evaluate, base: Artifact, tuned: Artifact, tmp_path: Path
):
    other = work(stage, tmp_path, {"checkpoints": (base, tuned)}, Surroundings(seed=1))
    pairs = list(zip(evaluated.samples(), other.samples(), strict=True))
    assert [row["greedy"] for row, _ in pairs] == [row["greedy"] for _, row in pairs]
    assert all(row["samples"] != again["samples"] for row, again in pairs)


@pytest.fixture(scope="module")
def wide(workshop: Path, base: Artifact, tuned: Artifact) -> Artifact:
    return work(examine(BASE, tune(), name="wide", **WIDE), workshop, {"checkpoints": (base, tuned)})


def test_every_way_of_asking_has_its_columns(wide: Artifact):
    results = read_json(wide.path / "results.json")
    assert list(results) == ["checkpoints", "kinds", "prompts"]
    votes = [f"{how}@{size}" for size in WIDE["votes"] for how in ("majority", "weighted")]
    for checkpoint in ("base", "sft"):
        main = results["checkpoints"][checkpoint]
        expected = [
            *(f"first_digit_is_even/{how}" for how in ("greedy", "pass@1", "pass@2", *votes, "beam@2")),
            *(f"lenient/{how}" for how in ("greedy", "pass@1", "pass@2", *votes, "beam@2")),
            *("tagged", "length", "distinct"),
        ]
        assert list(main) == expected
        assert list(results["kinds"][checkpoint]) == ["chains", "more"]
        assert list(results["prompts"][checkpoint]) == ["direct", "again"]
        for table in results["kinds"][checkpoint].values():
            assert list(table) == expected
        narrow = [name for name in expected if not name.endswith(("greedy", "beam@2", "@3", "@4"))]
        for table in results["prompts"][checkpoint].values():  # two samples: no vote of three
            assert list(table) == narrow


def test_scores_by_kind_are_those_of_the_problems_of_that_kind(wide: Artifact):
    results = read_json(wide.path / "results.json")
    for checkpoint in ("base", "sft"):
        rows = [row for row in wide.samples() if row["checkpoint"] == checkpoint]
        for kind, table in results["kinds"][checkpoint].items():
            mine = [row for row in rows if row["kind"] == kind]
            assert len(mine) == 3
            assert table["first_digit_is_even/pass@1"]["n"] == 3
            for name, values in (
                ("first_digit_is_even/pass@1", [row["sample_scores"]["first_digit_is_even"] for row in mine]),
                ("first_digit_is_even/greedy", [row["scores"]["first_digit_is_even"] for row in mine]),
                ("first_digit_is_even/beam@2", [row["beam_scores"]["first_digit_is_even"] for row in mine]),
                ("length", [row["sample_lengths"] for row in mine]),
            ):
                assert math.isclose(table[name]["mean"], np.mean(values)), name


def test_votes_follow_from_the_saved_answers_and_log_probs(wide: Artifact):
    results, score = read_json(wide.path / "results.json")["checkpoints"], "first_digit_is_even"
    disputed = 0
    for checkpoint in ("base", "sft"):
        rows = [row for row in wide.samples() if row["checkpoint"] == checkpoint]
        for size, groups in ((1, 4), (2, 2), (3, 1), (4, 1)):
            for how in ("majority", "weighted"):
                right = []
                for row in rows:
                    for group in range(groups):
                        chosen = range(group * size, group * size + size)
                        answers = [row["sample_answers"][sample] for sample in chosen]
                        weights = [math.exp(row["sample_log_probs"][sample]) for sample in chosen]
                        ballots: dict[str, float] = {}
                        for answer, weight in zip(answers, weights, strict=True):
                            if answer is not None:
                                ballots[answer] = ballots.get(answer, 0) + (weight if how == "weighted" else 1)
                        disputed += len(ballots) > 1
                        first = answers.index(max(ballots, key=ballots.get)) if ballots else None
                        right.append(0.0 if first is None else row["sample_scores"][score][chosen[first]])
                assert math.isclose(results[checkpoint][f"{score}/{how}@{size}"]["mean"], np.mean(right))
    assert disputed > 4
    assert results["base"][f"{score}/majority@1"]["mean"] != results["base"][f"{score}/pass@1"]["mean"]  # some abstain


def test_saved_answers_are_read_from_the_saved_texts_and_cut_off_replies_give_none(wide: Artifact):
    cut = 0
    for row in wide.samples():
        for name in (None, "direct", "again"):
            samples = row if name is None else row["prompts"][name]
            for text, answer, length in zip(
                *(samples[column] for column in ("samples", "sample_answers", "sample_lengths")), strict=True
            ):
                if answer is None and extract_answer(text, ChatFormat()) is not None:
                    assert length == tiny_stages.NEW_TOKENS
                    cut += 1
                else:
                    assert answer == extract_answer(text, ChatFormat())
            given = {answer for answer in samples["sample_answers"] if answer is not None}
            assert len(given) <= len(samples["samples"])
    assert cut > 0


def test_replies_in_another_style_begin_with_its_opening_and_their_lengths_are_without_it(wide: Artifact):
    for row in wide.samples():
        direct, again = row["prompts"]["direct"], row["prompts"]["again"]
        assert all(text.startswith("<answer>") for text in direct["samples"])
        assert len(direct["samples"]) == len(again["samples"]) == 2
        assert direct["sample_scores"]["first_digit_is_even"] == first_digit_is_even(direct["samples"])
    assert any(row["prompts"]["again"]["samples"] != row["samples"][:2] for row in wide.samples())
    lengths = [length for row in wide.samples() for length in row["prompts"]["direct"]["sample_lengths"]]
    assert max(lengths) == tiny_stages.NEW_TOKENS


def test_distinct_counts_different_answers(wide: Artifact):
    table = read_json(wide.path / "results.json")["checkpoints"]["base"]
    rows = [row for row in wide.samples() if row["checkpoint"] == "base"]
    counts = [len(set(row["sample_answers"]) - {None}) for row in rows]
    assert math.isclose(table["distinct"]["mean"], np.mean(counts))
    assert max(counts) > 1


def test_what_is_asked_besides_leaves_the_replies_to_the_exam_as_they_were(
    wide: Artifact, base: Artifact, tuned: Artifact, tmp_path: Path
):
    narrow = examine(BASE, tune(), name="wide", exam=WIDE["exam"], ks=())
    plain = work(narrow, tmp_path, {"checkpoints": (base, tuned)})
    for row, again in zip(wide.samples(), plain.samples(), strict=True):
        assert {name: row[name] for name in again} == again
        assert set(row) - set(again) == {"beam", "beam_scores", "prompts"}


def test_an_evaluation_that_is_stopped_anywhere_keeps_the_pieces_that_it_has(
    wide: Artifact, base: Artifact, tuned: Artifact, tmp_path: Path, monkeypatch: Any
):
    examined = []
    examine_one = Evaluate.examine

    def counting(self: Evaluate, candidate: Any, piece: Any, context: Any) -> Any:
        examined.append((candidate.stage, piece.name))
        return examine_one(self, candidate, piece, context)

    monkeypatch.setattr(Evaluate, "examine", counting)
    stage = examine(BASE, tune(), name="wide", **WIDE)
    for stop in (2, 7, 8):
        with pytest.raises(Interrupted):
            work(stage, tmp_path, {"checkpoints": (base, tuned)}, Surroundings(stop_at=stop))
    surroundings = Surroundings(stop_at=10)  # a stop that comes when all is done changes nothing
    resumed = work(stage, tmp_path, {"checkpoints": (base, tuned)}, surroundings)
    assert examined == [(checkpoint, part) for checkpoint in ("base", "sft") for part in PARTS]
    assert [(report.step, report.steps) for report in surroundings.reports] == [(step, 10) for step in range(1, 11)]
    for name in ("results.json", "samples.jsonl"):
        assert (resumed.path / name).read_bytes() == (wide.path / name).read_bytes()


def test_checkpoints_of_one_architecture_share_their_programs(
    wide: Artifact, base: Artifact, tuned: Artifact, tmp_path: Path, caplog: Any
):
    stage = examine(BASE, tune(), name="again", **WIDE)  # the very programs of ``wide``, in another stage
    with jax.log_compiles(), caplog.at_level("WARNING"):
        work(stage, tmp_path, {"checkpoints": (base, tuned)})
        jax.jit(lambda x: x + 1)(1.0)
    compiled = [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()]
    assert len(compiled) == 1 and "lambda" in compiled[0]  # the control's, and nothing for the evaluation


def test_what_is_no_checkpoint_is_refused_by_its_name(corpus: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="stage corpus left records, no checkpoint"):
        work(examine(BASE), tmp_path, {"checkpoints": (corpus,)})


def test_more_answers_than_samples_and_a_single_problem_are_refused():
    with pytest.raises(InputError, match="pass@5 can't be estimated from 4 samples"):
        examine(BASE, exam=EXAM, ks=(2, 5))
    alone = tiny_stages.replace(tiny_stages.TEST, count=1)
    with pytest.raises(InputError, match="an exam of 1 problem has no interval"):
        examine(BASE, exam=quiz(problems=alone))


def test_votes_of_more_samples_than_there_are_and_styles_of_one_name_are_refused():
    with pytest.raises(InputError, match="a vote@8 can't be estimated from 4 samples"):
        examine(BASE, exam=EXAM, ks=(), votes=(4, 8))
    with pytest.raises(InputError, match="two prompt styles are named plain"):
        examine(BASE, exam=EXAM, ks=(), prompts=(PromptStyle(opening="<think>"),))
    with pytest.raises(InputError, match="two prompt styles are named x"):
        examine(BASE, exam=EXAM, ks=(), prompts=(PromptStyle("x"), PromptStyle("x", opening="=")))


def test_a_style_that_can_not_be_written_or_leaves_no_room_is_refused_before_anything_is_sampled(
    base: Artifact, tmp_path: Path
):
    unknown = examine(BASE, exam=EXAM, ks=(), prompts=(PromptStyle("greek", instruction="ω"),))
    with pytest.raises(InputError, match="no id for 'ω'"):
        work(unknown, tmp_path, {"checkpoints": (base,)})
    long = examine(BASE, exam=EXAM, ks=(), prompts=(PromptStyle("long", opening="1" * 30),))
    with pytest.raises(InputError, match="more than the model's context of 32"):
        work(long, tmp_path, {"checkpoints": (base,)})
    assert not (tmp_path / "exam" / "parts").exists()


def test_the_plan_counts_greedy_replies_and_samples():
    plan = examine(BASE, reinforce(), exam=EXAM, ks=()).plan()
    assert plan == {"replies": 2 * 4 * 5, "sampled tokens at most": 2 * 4 * 5 * 8}
    wide = examine(BASE, reinforce(), **WIDE).plan()
    assert wide["replies"] == 2 * 6 * (1 + 4 + 2 + 2 * 2)
