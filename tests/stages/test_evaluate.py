"""Evaluation: the table's numbers are those of the saved replies, and finished parts survive an interruption."""

import math
import shutil
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import BASE, HALVES, REFUSED, Surroundings, examine, quiz, tune, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.methods import Beam, Greedy, Samples
from reasoning.evaluation.results import Replies, Results, read_results, read_samples
from reasoning.generation.prompts import PromptStyle
from reasoning.rewards.accuracy import lenient
from reasoning.rewards.numbers import number
from reasoning.rewards.text import read_answer
from reasoning.stages import evaluate
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
    return [float(bool(each) and each[0] % 2 == 0) for each in digits]


MIXED = ProblemSet(tasks=(Chains(**tiny_stages.SHORT), MoreChains(**tiny_stages.SHORT)), split="test", count=6)
EXAM = quiz(scores=(first_digit_is_even, lenient))
WIDE = {
    "quiz": replace(EXAM, problems=MIXED),
    "methods": (Greedy(), Samples(ks=(2,), votes=(1, 2, 3, 4)), Beam(beams=2)),
    "styles": (PromptStyle("direct", opening="<answer>"), PromptStyle("again", instruction="=")),
    "style_methods": (Samples(samples=2, ks=(2,), votes=(1, 2)),),
}
STAGE = examine(BASE, tune(), quiz=EXAM, methods=(Greedy(), Samples(ks=(2, 4))))
WIDE_STAGE = examine(BASE, tune(), name="wide", **WIDE)
PIECES = (("greedy", ""), ("samples", ""), ("beam@2", ""), ("samples", "direct"), ("samples", "again"))
NAMES, EVEN = ("base", "sft"), "first_digit_is_even"


@pytest.fixture(scope="session")
def tuned(workshop: Path, base: Artifact, examples: Artifact) -> Artifact:
    return work(tune(), workshop, {"start": base, "data": examples})


@pytest.fixture(scope="module")
def both(base: Artifact, tuned: Artifact) -> dict[str, tuple[Artifact, ...]]:
    return {"checkpoints": (base, tuned)}


@pytest.fixture(scope="module")
def evaluated(workshop: Path, both: dict) -> Artifact:
    return work(STAGE, workshop, both)


def results_of(artifact: Artifact) -> Results:
    return read_results(artifact.path)


def rows_of(artifact: Artifact, checkpoint: str = "", method: str = "samples", style: str = "") -> list[Replies]:
    """What one checkpoint, or all, replied to one method in one style."""
    rows = [row for row in read_samples(artifact.path / "samples.jsonl") if (row.method, row.style) == (method, style)]
    return [row for row in rows if checkpoint in ("", row.checkpoint)]


def check_same_files(one: Artifact, other: Artifact) -> None:
    assert sorted(path.name for path in one.path.iterdir()) == ["results.json", "samples.jsonl"]
    for path in one.path.iterdir():
        assert path.read_bytes() == (other.path / path.name).read_bytes()


def test_every_number_of_the_table_follows_from_the_saved_replies(evaluated: Artifact):
    tables = results_of(evaluated).checkpoints
    assert tuple(tables) == NAMES and results_of(evaluated).split == "test"
    seen = []
    for checkpoint, scores in tables.items():
        greedy, sampled = (rows_of(evaluated, checkpoint, method) for method in ("greedy", "samples"))
        assert [row.problem for row in sampled] == [row.problem for row in greedy] == [0, 1, 2, 3]
        means = {name: score.mean for name, score in scores.items()}
        for name in (EVEN, "lenient"):
            right = [row.scores[name] for row in sampled]
            assert means[f"{name}/greedy"] == np.mean([row.scores[name] for row in greedy])
            assert math.isclose(means[f"{name}/pass@1"], np.mean(right))
            for k in (2, 4):
                any_of_k = [[max(chosen) for chosen in combinations(four, k)] for four in right]
                assert math.isclose(means[f"{name}/pass@{k}"], np.mean(any_of_k))
        assert math.isclose(means["tagged"], np.mean([row.scores["tagged"] for row in sampled]))
        assert math.isclose(means["length"], np.mean([row.lengths for row in sampled]))
        seen += [row.scores[EVEN] for row in sampled]
    assert 0 < np.mean(seen) < 1
    assert {score.n for scores in tables.values() for score in scores.values()} == {4}


def test_the_saved_scores_are_those_of_the_saved_texts(evaluated: Artifact):
    rows = read_samples(evaluated.path / "samples.jsonl")
    assert len(rows) == 2 * 2 * 4
    assert all(list(row.scores[EVEN]) == first_digit_is_even(list(row.texts)) for row in rows)


def test_intervals_hold_their_means_and_the_artifact_has_the_means(evaluated: Artifact):
    for checkpoint, scores in results_of(evaluated).checkpoints.items():
        for name, score in scores.items():
            assert score.low <= score.mean <= score.high
            assert evaluated.results[f"{checkpoint}/{name}"] == score.mean
    assert evaluated.kind == "results" and len(evaluated.results) == 2 * (2 * 4 + 3)


def test_all_checkpoints_are_asked_the_same_held_out_problems(evaluated: Artifact):
    questions = [[row.question for row in rows_of(evaluated, name)] for name in NAMES]
    assert questions[0] == questions[1] == [problem.question for problem in tiny_stages.TEST.problems()]


def test_an_evaluation_done_twice_gives_the_same_bytes(evaluated: Artifact, both: dict, tmp_path: Path):
    """As it is where a number of the results has changed before the stage ended, which is told."""
    file, around = tmp_path / "exam" / "results.json", Surroundings()
    shutil.copytree(evaluated.path, file.parent)
    file.write_text(file.read_text().replace("0.", "1.", 1))
    check_same_files(work(STAGE, tmp_path, both, around), evaluated)
    assert ["results.json is not as it was written" in told for told in around.warnings] == [True]


def test_the_seed_of_the_run_draws_the_samples_and_leaves_the_greedy_replies(
    evaluated: Artifact, both: dict, tmp_path: Path
):
    other = work(STAGE, tmp_path, both, Surroundings(seed=1))
    assert rows_of(evaluated, method="greedy") == rows_of(other, method="greedy")
    assert all(row.texts != again.texts for row, again in zip(rows_of(evaluated), rows_of(other), strict=True))


@pytest.fixture(scope="module")
def wide(workshop: Path, both: dict) -> Artifact:
    return work(WIDE_STAGE, workshop, both)


def test_every_way_of_asking_has_its_columns_and_without_kinds_and_styles_there_are_none_of_them(
    wide: Artifact, evaluated: Artifact
):
    results = results_of(wide)
    assert results_of(evaluated).kinds == results_of(evaluated).styles == {}
    votes = [f"{how}@{size}" for size in (1, 2, 3, 4) for how in ("majority", "weighted")]
    columns, narrow = ("greedy", "pass@1", "pass@2", *votes, "beam@2"), ("pass@1", "pass@2", *votes[:4])
    every, few = (
        [*(f"{score}/{column}" for score in (EVEN, "lenient") for column in own), "tagged", "length", "distinct"]
        for own in (columns, narrow)
    )
    for checkpoint in NAMES:
        assert list(results.checkpoints[checkpoint]) == every
        kinds, styles = results.kinds[checkpoint], results.styles[checkpoint]
        assert {name: list(table) for name, table in kinds.items()} == {"chains": every, "more": every}
        assert {name: list(table) for name, table in styles.items()} == {"direct": few, "again": few}


def test_scores_by_kind_are_those_of_the_problems_of_that_kind(wide: Artifact):
    for checkpoint in NAMES:
        for kind, table in results_of(wide).kinds[checkpoint].items():
            for column, method in (("pass@1", "samples"), ("greedy", "greedy"), ("beam@2", "beam@2")):
                rows = [row for row in rows_of(wide, checkpoint, method) if row.kind == kind]
                assert len(rows) == table[f"{EVEN}/{column}"].n == 3
                assert math.isclose(table[f"{EVEN}/{column}"].mean, np.mean([row.scores[EVEN] for row in rows]))
            own = [row.lengths for row in rows_of(wide, checkpoint) if row.kind == kind]
            assert math.isclose(table["length"].mean, np.mean(own))


def test_votes_follow_from_the_saved_answers_and_log_probs(wide: Artifact):
    tables, disputed = results_of(wide).checkpoints, 0
    for checkpoint, size, how in product(NAMES, (1, 2, 3, 4), ("majority", "weighted")):
        right = []
        for row, start in product(rows_of(wide, checkpoint), range(0, 4 // size * size, size)):
            ballots: dict[str, float] = {}
            for answer, log_prob in list(zip(row.answers, row.log_probs, strict=True))[start : start + size]:
                if answer is not None:
                    ballots[answer] = ballots.get(answer, 0) + (math.exp(log_prob) if how == "weighted" else 1)
            disputed += len(ballots) > 1
            first = row.answers.index(max(ballots, key=ballots.get), start) if ballots else None
            right.append(0.0 if first is None else row.scores[EVEN][first])
        assert math.isclose(tables[checkpoint][f"{EVEN}/{how}@{size}"].mean, np.mean(right))
    assert disputed > 4
    assert tables["base"][f"{EVEN}/majority@1"].mean != tables["base"][f"{EVEN}/pass@1"].mean  # some abstain


def test_saved_answers_are_read_from_the_saved_texts_and_cut_off_replies_give_none(wide: Artifact):
    cut = 0
    for row in read_samples(wide.path / "samples.jsonl"):
        for text, answer, length in zip(row.texts, row.answers, row.lengths, strict=True):
            given = read_answer(text, row.answer, ChatFormat())
            assert answer == given or (answer is None and length == tiny_stages.NEW_TOKENS)
            cut += answer != given
    assert cut > 0


def test_replies_in_another_style_begin_with_its_opening_and_their_lengths_are_without_it(wide: Artifact):
    direct, again = (rows_of(wide, style=style) for style in ("direct", "again"))
    assert all(len(row.texts) == 2 for row in (*direct, *again)) and len(direct) == len(again) == 2 * 6
    assert all(text.startswith("<answer>") for row in direct for text in row.texts)
    assert all(list(row.scores[EVEN]) == first_digit_is_even(list(row.texts)) for row in direct)
    assert any(row.texts != own.texts[:2] for row, own in zip(again, rows_of(wide), strict=True))
    assert max(length for row in direct for length in row.lengths) == tiny_stages.NEW_TOKENS


def test_distinct_counts_different_answers(wide: Artifact):
    counts = [len(set(row.answers) - {None}) for row in rows_of(wide, "base")]
    assert math.isclose(results_of(wide).checkpoints["base"]["distinct"].mean, np.mean(counts))
    assert max(counts) > 1


def test_what_is_asked_besides_leaves_the_replies_to_the_exam_as_they_were(wide: Artifact, both: dict, tmp_path: Path):
    plain = work(replace(WIDE_STAGE, methods=(Samples(), Greedy()), styles=()), tmp_path, both)
    for method in ("greedy", "samples"):
        assert rows_of(plain, method=method) == rows_of(wide, method=method)
    assert {(row.method, row.style) for row in read_samples(wide.path / "samples.jsonl")} == set(PIECES)


def test_an_evaluation_that_is_stopped_anywhere_keeps_the_pieces_that_it_has(
    wide: Artifact, both: dict, tmp_path: Path, monkeypatch: Any
):
    examined = []
    examine_one = Evaluate.examine

    def counting(self: Evaluate, piece: Any, *more: Any) -> Any:
        examined.append((piece.checkpoint.stage, piece.method.name, self.style_name(piece.style)))
        return examine_one(self, piece, *more)

    monkeypatch.setattr(Evaluate, "examine", counting)
    for stop in (2, 7, 8):
        with pytest.raises(Interrupted):
            work(WIDE_STAGE, tmp_path, both, Surroundings(stop_at=stop))
    surroundings = Surroundings(stop_at=10)  # a stop that comes when all is done changes nothing
    resumed = work(WIDE_STAGE, tmp_path, both, surroundings)
    assert examined == [(checkpoint, *piece) for checkpoint in NAMES for piece in PIECES]
    assert [(report.step, report.steps) for report in surroundings.reports] == [(step, 10) for step in range(1, 11)]
    check_same_files(resumed, wide)


@pytest.mark.parametrize("where", ["write_results", "rmtree"])
def test_an_evaluation_that_is_killed_while_it_ends_ends_the_same_and_asks_nothing_again(
    wide: Artifact, both: dict, tmp_path: Path, monkeypatch: Any, where: str
):
    def killed(path: Path, *more: Any) -> None:
        if where == "rmtree":
            next(path.iterdir()).unlink()  # it comes in the middle
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil if where == "rmtree" else evaluate, where, killed)
        work(WIDE_STAGE, tmp_path, both)
    assert (tmp_path / "wide" / "parts").exists()
    monkeypatch.setattr(Evaluate, "examine", None)
    again = work(WIDE_STAGE, tmp_path, both)
    assert again.results == wide.results
    check_same_files(again, wide)


def test_processes_look_before_any_writes_and_parts_go_when_all_have_read_them(
    evaluated: Artifact, both: dict, tmp_path: Path, monkeypatch: Any
):
    states = []

    def waiting(what: str) -> None:
        out = tmp_path / "exam"
        states.append((len(list(out.glob("parts/*.jsonl"))), (out / "results.json").exists()))

    monkeypatch.setattr(evaluate, "wait_for_all", waiting)
    check_same_files(work(STAGE, tmp_path, both), evaluated)
    assert states == [(0, False), (1, False), (2, False), (3, False), (4, False), (4, True)]
    states.clear()  # One that finds results meets the others as often, whatever these found.
    work(STAGE, tmp_path, both)
    assert states == [(0, True), (0, True)]


def test_only_process_0_writes_and_removes(evaluated: Artifact, both: dict, tmp_path: Path, monkeypatch: Any):
    with pytest.raises(Interrupted):
        work(STAGE, tmp_path, both, Surroundings(stop_at=3))
    before = sorted(tmp_path.glob("exam/parts/*"))
    monkeypatch.setattr(evaluate, "jax", SimpleNamespace(process_index=lambda: 1))
    with pytest.raises(InputError, match=r"parts/sft\.0\.samples\.jsonl does not exist"):
        work(STAGE, tmp_path, both)
    assert sorted(tmp_path.glob("exam/parts/*")) == before and not (tmp_path / "exam" / "results.json").exists()


def test_checkpoints_of_one_architecture_share_their_programs(wide: Artifact, both: dict, tmp_path: Path, caplog: Any):
    stage = examine(BASE, tune(), name="again", **WIDE)  # the very programs of ``wide``, in another stage
    with jax.log_compiles(), caplog.at_level("WARNING"):
        work(stage, tmp_path, both)
        jax.jit(lambda x: x + 1)(1.0)
    compiled = [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()]
    assert len(compiled) == 1 and "lambda" in compiled[0]  # the control's, and nothing for the evaluation


def test_what_is_no_checkpoint_is_refused_by_its_name(corpus: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="stage corpus left records, no checkpoint"):
        work(examine(BASE), tmp_path, {"checkpoints": (corpus,)})


def test_methods_and_scores_that_do_not_fit_the_quiz_and_a_single_problem_are_refused():
    with pytest.raises(InputError, match="pass@5 can't be estimated from 4 samples"):
        examine(BASE, quiz=EXAM, methods=(Samples(ks=(2, 5)),))
    with pytest.raises(InputError, match="a vote@8 can't be estimated from 4 samples"):
        examine(BASE, quiz=EXAM, style_methods=(Samples(votes=(8,)),))
    with pytest.raises(InputError, match="an exam of 1 problem has no interval"):
        examine(BASE, quiz=quiz(problems=replace(tiny_stages.TEST, count=1)))
    with pytest.raises(InputError, match=REFUSED):
        examine(BASE, quiz=quiz(problems=HALVES, rates=(number,))).check(Surroundings().context().mesh)


def test_a_score_between_right_and_wrong_is_refused_when_the_first_replies_are_there(both: dict, tmp_path: Path):
    share = quiz(scores=(lambda completions, **columns: [0.6] * len(completions),))
    with pytest.raises(InputError, match="the score <lambda>: it gave a reply 0.6, but pass@k counts .* or drop ks"):
        work(examine(BASE, quiz=share, methods=(Samples(ks=(2,)), Greedy())), tmp_path, both)
    assert not list((tmp_path / "exam" / "parts").iterdir())


@pytest.mark.parametrize("styles", [(PromptStyle("plain", opening="="),), (PromptStyle("x"), PromptStyle("x", "="))])
def test_styles_of_one_name_are_refused(styles: tuple[PromptStyle, ...]):
    with pytest.raises(InputError, match=f"two prompt styles are named {styles[0].name}"):
        examine(BASE, styles=styles)


def test_a_style_that_can_not_be_written_or_leaves_no_room_is_refused_before_anything_is_sampled(
    base: Artifact, tmp_path: Path
):
    with pytest.raises(InputError, match="no id for 'ω'"):
        work(examine(BASE, styles=(PromptStyle("greek", instruction="ω"),)), tmp_path, {"checkpoints": (base,)})
    with pytest.raises(InputError, match="more than the model's context of 32"):
        work(examine(BASE, styles=(PromptStyle("long", opening="1" * 30),)), tmp_path, {"checkpoints": (base,)})
    assert not (tmp_path / "exam" / "parts").exists()


def test_the_plan_counts_what_each_method_decodes():
    assert STAGE.plan() == {"replies": 2 * 4 * 5, "sampled tokens at most": 2 * 4 * 5 * 8}
    assert WIDE_STAGE.plan()["replies"] == 2 * 6 * (1 + 4 + 2 + 2 * 2)
