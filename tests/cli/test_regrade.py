"""The command: what it prints of a run's programs, and one clear line for what it can't grade."""

from pathlib import Path

import pytest

from reasoning.cli.main import main
from reasoning.evaluation.results import SAMPLES, Replies, write_samples
from reasoning.pipeline.folder import Entry, write_run
from reasoning.tasks.problems import ProblemSet
from reasoning.tasks.short_functions import ShortFunctions

EXPERIMENT = """
functions = @tasks.short_functions.ShortFunctions
few = @tasks.problems.ProblemSet
few.tasks = (functions,)
few.split = 'test'
few.count = 2
right = @rewards.code.Code
exam = @stages.Evaluate
exam.checkpoints = ()
exam.quiz = quiz
quiz = @evaluation.Exam
quiz.problems = few
quiz.scores = (right,)
quiz.max_new_tokens = 64
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with an exam of which a right program was called wrong, a wrong one right, and one was right twice."""
    problem, other = ProblemSet((ShortFunctions(),), "test", 2).problems()
    texts = (f"```python\n{problem.answer}\n```", "```python\ndef f(x):\n    return 'no'\n```")
    row = Replies(
        checkpoint="base", problem=0, question=problem.question, answer=problem.answer, kind="functions",
        method="samples", texts=texts, lengths=(9, 9), log_probs=(-1.0, -1.0), answers=("", ""),
        scores={"code": (0.0, 1.0)},
    )  # fmt: skip
    right = Replies(
        checkpoint="base", problem=1, question=other.question, answer=other.answer, kind="functions", method="samples",
        texts=(f"```python\n{other.answer}\n```",), lengths=(9,), log_probs=(-1.0,), answers=("",),
        scores={"code": (1.0,)},
    )  # fmt: skip
    for name in ("exam", "base"):
        (tmp_path / name).mkdir()
    write_samples(tmp_path / "exam" / SAMPLES, [row, right])
    write_run(tmp_path, [Entry(name, name, "0" * 64, True) for name in ("exam", "base")])
    (tmp_path / "resolved.gin").write_text(EXPERIMENT)
    return tmp_path


def test_it_shows_how_many_programs_are_right_now_and_examples_of_those_that_changed(run: Path, capsys):
    assert main(["regrade", str(run), "--rewards", "rewards.code.Code", "rewards.format.tagged"]) == 0
    said = capsys.readouterr().out
    [code] = [line.split() for line in said.splitlines() if line.strip().startswith("code ")]
    assert code == ["code", "base,", "samples", "3", "0.667", "0.667", "1", "1", "0"]
    [tagged] = [line.split() for line in said.splitlines() if line.strip().startswith("tagged ")]
    assert tagged == ["tagged", "base,", "samples", "3", "–", "0.000", "–", "–", "0"]
    assert "code, base, samples: 0 → 1  (passed)" in said and "1 → 0  (wrong at test 0" in said
    assert "return 'no'" in said and "Write a Python function" in said


def test_settings_change_a_part_of_the_experiment_for_this_once(run: Path, capsys):
    assert main(["regrade", f"{run}/exam", "right.partial=True", "--rewards", "right", "--examples", "0"]) == 0
    said = capsys.readouterr().out
    assert "code_share" in said and "→" not in said
    assert (run / "resolved.gin").read_text() == EXPERIMENT


def test_another_experiment_file_has_the_problems_and_the_rewards(run: Path, capsys):
    mended = run / "mended.gin"
    mended.write_text(EXPERIMENT.replace("right", "mended"))
    (run / "resolved.gin").unlink()
    assert main(["regrade", f"{run}/exam", "--rewards", "mended", "--experiment", str(mended), "--examples", "1"]) == 0
    assert "1 more changed" in capsys.readouterr().out
    assert main(["regrade", f"{run}/exam", "--rewards", "right"]) == 2
    assert "name the experiment file, --experiment FILE.gin" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere --rewards right", "is not a run's folder (it has no run.json); write RUN or RUN/STAGE"),
        ("base --rewards right", "there are no replies of stage base to grade; stages that kept replies are exam"),
        ("exam --rewards righ", "resolved.gin defines no part 'righ'; did you mean 'right'?"),
        ("exam --rewards wrong.right", "there is no module 'wrong'"),
        ("exam --rewards right --examples -1", "--examples -1 is less than none"),
        ("exam few.seed=1 --rewards right", "2 of its 2 questions"),
    ],
)
def test_what_can_not_be_graded_is_one_clear_line(run: Path, capsys, arguments: str, message: str):
    stage, *more = arguments.split()
    where = f"{run}/{stage}/none" if stage == "nowhere" else f"{run}/{stage}"
    assert main(["regrade", where, *more]) == 2
    assert message in capsys.readouterr().err
