"""``reasoning regrade``: stored replies graded anew by other rewards, or by mended tests, and what that changes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.core.errors import InputError
from reasoning.core.sealed import check_sealed_text
from reasoning.core.text import shortened
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.findings.numbers import number, plain
from reasoning.pipeline.folder import RESOLVED, RUN
from reasoning.report.console import complain, put, table
from reasoning.report.document import NOTHING, Cell
from reasoning.use.regrade import Change, Flip, named_rewards, regrade, stored_stages

_SHOWN_CHARACTERS = 300
_COLUMNS = ("reward", "replies of", "n", "before", "after", "up", "down", "not graded")

_EPILOG = """\
examples:
  reasoning regrade runs/r1_tiny/exam --rewards rewards.accuracy.lenient rewards.math.Math
  reasoning regrade runs/code_tiny --rewards right shown           parts of the run's own experiment
  reasoning regrade runs/code_tiny/zero shown.partial=True --rewards shown
  reasoning regrade runs/mine/exam --experiment mended.gin --rewards right   rewards and problems of another file
"""


def main(arguments: Sequence[str]) -> int:
    """Prints a table a stage, with examples of what changed, and returns the exit status."""
    chosen = parsed(_parser().parse_intermixed_args, arguments)
    if chosen.examples < 0:
        raise InputError(f"--examples {chosen.examples} is less than none; give 0 or more")
    run, stages = _stages(Path(chosen.stage))
    experiment = _experiment(run, chosen.experiment, chosen.overrides)
    rewards = named_rewards(chosen.rewards, experiment)
    for stage, folder in stages.items():
        changes, remarks = regrade(stage, folder, experiment, rewards)
        for remark in remarks:
            complain(f"warning: {remark}")
        _show(output(), stage, changes, chosen.examples)
    return 0


def _stages(path: Path) -> tuple[Path, dict[str, Path]]:
    """The run, and its stage that ``RUN/STAGE`` names, or all that kept replies. Raises InputError for none."""
    run = path if (path / RUN).exists() else path.parent
    if not (run / RUN).exists():
        raise InputError(f"{run} is not a run's folder (it has no {RUN}); write RUN or RUN/STAGE, as in runs/r1_tiny")
    stored = stored_stages(run)
    there = f"stages that kept replies are {', '.join(stored)}" if stored else "none of its stages kept any"
    if not stored or (run != path and path.name not in stored):
        what = "this run" if run == path else f"stage {path.name}"
        raise InputError(f"{run}: there are no replies of {what} to grade; {there}")
    return run, stored if run == path else {path.name: stored[path.name]}


def _experiment(run: Path, file: str, overrides: Sequence[str]) -> Experiment:
    """The experiment that has the problems: the run's own, or another file. InputError where it can't be read."""
    if file:
        return read_experiment(file, overrides)
    own = run / RESOLVED
    if own.exists():
        check_sealed_text(own)
    try:
        experiment = read_experiment(own)
    except InputError as error:
        raise InputError(
            f"{error}\nThe problems are looked for in {own}: start where its modules and files lie, or name the "
            "experiment file, --experiment FILE.gin"
        ) from None
    return experiment.vary((), overrides) if overrides else experiment


def _show(console: Console, stage: str, changes: Sequence[Change], examples: int) -> None:
    rows = [
        (
            change.reward,
            change.source,
            f"{change.count:,}",
            _mean(change.before),
            _mean(change.after),
            f"{change.up():,}" if change.before else NOTHING,
            f"{change.down():,}" if change.before else NOTHING,
            f"{change.ungraded:,}",
        )
        for change in changes
    ]
    put(console, table(f"{stage}, graded anew", _COLUMNS, rows))
    for change in changes:
        for flip in change.flips[:examples]:
            _show_flip(console, change, flip)
        if left := len(change.flips[examples:]):
            put(console, f"{change.reward}, {change.source}: {left:,} more changed (--examples N shows more)", "dim")


def _show_flip(console: Console, change: Change, flip: Flip) -> None:
    judgement = flip.judgement
    place = "" if judgement.failing is None else f" at test {judgement.failing}"
    reason = ", ".join(filter(None, (judgement.verdict + place, judgement.detail)))
    values = f"{plain(flip.before)} → {plain(flip.value)}"
    put(console, f"{change.reward}, {change.source}: {values}{f'  ({reason})' if reason else ''}", "bold")
    put(console, shortened(flip.question, _SHOWN_CHARACTERS), "dim", margin=2)
    put(console, shortened(flip.text, _SHOWN_CHARACTERS) or "(nothing)", margin=4)


def _mean(values: Sequence[float]) -> str | Cell:
    return number(sum(values) / len(values)) if values else NOTHING


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning regrade",
        description="Grades the replies that a run has kept anew, without sampling and without a change to the run: "
        "rollouts of stages that learn from their samples, replies of exams, and the first replies of collecting "
        "stages. Shows for each reward its mean before (where the run had a reward of that name) and after, how many "
        "replies are worth more and less than before, how many could not be graded, and examples. The problems, with "
        "their tests, are found again by their questions in the run's experiment.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", metavar="RUN[/STAGE]", help="the --out of a run, and a stage (default: all that kept)")
    parser.add_argument(
        "overrides", nargs="*", metavar="PART.FIELD=VALUE", help="settings that replace the experiment's"
    )
    parser.add_argument(
        "--rewards",
        nargs="+",
        required=True,
        metavar="NAME",
        help="parts of the experiment, or what experiment files write behind an @: rewards.code.Code, mine.brevity",
    )
    parser.add_argument("--experiment", default="", metavar="FILE.gin", help="instead of the run's own experiment")
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="changed replies shown a row (default: 3)")
    return parser
