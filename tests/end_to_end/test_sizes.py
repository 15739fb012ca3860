"""No number in an experiment file makes reading it, or looking at what it would do, take long or much memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.experiment.types import Mismatch, coerce, hints_of
from reasoning.pipeline.sweeps.arms import expand_sweep

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
HUGE = (10**9, 10**12)
ANY = {
    "seed",
    "warmup",
    "steps",
    "wanted",
    "documents",
    "shortest",
    "skips_allowed",
    "resample",
    "keep",
    "block",
    "skip_bad",
}
"""Fields in which nothing grows with the number: it is drawn from, counted up to, or compared with."""

OF_THE_EXAM = {"ks", "votes"}
"""What an exam refuses, which knows how many samples there are."""


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return read_experiment(EXPERIMENTS / "r1_tiny.gin")


def whole_numbers(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Part and field of every setting that is a whole number, or a tuple of them, once a class."""
    seen: set[tuple[type, str]] = set()
    for name in experiment.parts:
        target = type(experiment.part(name))
        for field, hint in hints_of(target).items():
            if (target, field) not in seen and (_is_number(hint) or _is_number(_item(hint))):
                seen.add((target, field))
                yield name, field


def _is_number(hint: Any) -> bool:
    return hint is int or (get_origin(hint) is Annotated and get_args(hint)[0] is int)


def _item(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is tuple and get_args(hint) else None


@pytest.mark.parametrize("size", HUGE)
def test_every_size_in_a_file_is_refused_where_it_is_read_and_numbers_that_cost_nothing_are_taken(
    experiment: Experiment, size: int
):
    taken = []
    settings = list(whole_numbers(experiment))
    assert len(settings) > 60
    for name, field in settings:
        part = experiment.part(name)
        hint = hints_of(type(part))[field]
        try:  # as the reader of files does with each setting, and then with the part
            replace(part, **{field: coerce(size if _item(hint) is None else (size,), hint)})
            taken.append(field)
        except (Mismatch, InputError) as error:
            assert len(str(error)) < 1000 and "\n" not in str(error)
    assert {field for field in taken if not field.endswith("_every")} <= ANY | OF_THE_EXAM


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("sweep.seeds = 1000000000", "sweep.seeds must be at most 1000, not 1000000000"),
        ("sweep.seeds = 1000\nsweep.each = {'zero.steps': (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)}", "11 arms"),
        (
            "sweep.grid = {" + ", ".join(f"'zero.{name}': {values}" for name, values in (
                ("steps", tuple(range(1, 101))), ("questions", tuple(range(1, 101))), ("temperature", (0.5, 1.0)),
            )) + "}",
            "20,000 arms with 5 seeds, 100,000 runs; at most 10,000",
        ),
    ],
)  # fmt: skip
def test_a_sweep_of_endless_runs_is_refused_before_any_is_read(tmp_path: Path, lines: str, complaint: str):
    file = tmp_path / "sweep.gin"
    file.write_text(f"include '{EXPERIMENTS / 'r1_zero_tiny.gin'}'\nsweep = @pipeline.Sweep\n{lines}\n")
    with pytest.raises(InputError, match=complaint):
        expand_sweep(read_experiment(file))
