import hashlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import reasoning
from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_json
from reasoning.experiment.alternatives import alternatives
from reasoning.experiment.describe import describe, is_hashed, user_sources
from reasoning.experiment.reader import read_experiment

MODULE = """
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reasoning.core.ranges import Count, NonNegative


@dataclass(frozen=True)
class Model:
    width: Count = 16
    layers: Count = 2


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    name: str = ""
    model: Model
    steps: Count = 10
    log_every: Count = field(default=10, metadata={"hashed": False})


def token_mean(mask):
    return mask


@dataclass(frozen=True, kw_only=True)
class GRPO:
    name: str = ""
    start: "Pretrain | GRPO"
    aggregate: Callable[..., Any] = token_mean
    rewards: tuple[Callable[..., Any], ...] = ()
    clip_high: NonNegative = 0.2


@dataclass(frozen=True)
class Sweep:
    each: dict[str, tuple[Any, ...]]
    seeds: Count = 5
"""

MODELS = "width = 32\nmodel = @toy_stages.Model\nmodel.width = %width\n"
MAIN = """\
# A toy run.
include 'models/tiny.gin'

base = @toy_stages.Pretrain
base.model = model
zero = @toy_stages.GRPO       # pure RL
zero.start = base
zero.rewards = (@toy_rewards.exact, @toy_rewards.tidy)
rl1 = zero
rl1.start = zero
zero.clip_high = 0.28
sweep = @toy_stages.Sweep
sweep.each = {'zero.clip_high': (0.2, 0.28),
              'zero.start': (base, None)}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An experiment with a module beside it and one in the current folder, neither of them on the path."""
    elsewhere, beside = tmp_path / "here", tmp_path / "experiments"
    for path in (elsewhere, beside / "models"):
        path.mkdir(parents=True)
    (beside / "toy_stages.py").write_text(MODULE)
    (elsewhere / "toy_rewards.py").write_text("def exact():\n    pass\n\ndef tidy():\n    pass\n\nnumber = 3\n")
    (beside / "models" / "tiny.gin").write_text(MODELS)
    (beside / "main.gin").write_text(MAIN)
    monkeypatch.chdir(elsewhere)
    yield beside
    for name in ("toy_stages", "toy_rewards"):
        sys.modules.pop(name, None)


def test_a_file_becomes_its_parts(folder):
    experiment = read_experiment(folder / "main.gin")
    assert list(experiment.parts) == ["model", "base", "zero", "rl1", "sweep"]
    zero, rl1 = experiment.part("zero"), experiment.part("rl1")
    assert zero.start is experiment.part("base") and zero.start.model.width == 32
    assert [reward.__name__ for reward in zero.rewards] == ["exact", "tidy"]
    assert (rl1.start, rl1.clip_high, rl1.name, zero.clip_high) == (zero, 0.2, "rl1", 0.28)
    assert experiment.part("sweep").each == {"zero.clip_high": (0.2, 0.28), "zero.start": (zero.start, None)}


def test_the_path_is_left_as_it_was(folder):
    before = list(sys.path)
    read_experiment(folder / "main.gin")
    with pytest.raises(InputError):
        read_experiment(folder / "main.gin", ["zero.x=1"])
    assert sys.path == before


def test_a_relative_path_reads_the_same(folder):
    experiment = read_experiment("../experiments/main.gin")
    assert dict(experiment.parts) == dict(read_experiment(folder / "main.gin").parts)
    assert experiment.source("model") == "../experiments/models/tiny.gin:2"


def test_overrides_of_the_command_line_and_of_python_agree(folder):
    texts = ["width=64", "zero.clip_high=0.5", "zero.rewards=(@toy_rewards.tidy,)", "base.name='b'"]
    first = read_experiment(folder / "main.gin", texts)
    tidy = sys.modules["toy_rewards"].tidy
    mapping = {"width": 64, "zero.clip_high": 0.5, "zero.rewards": (tidy,), "base.name": "b"}
    second = read_experiment(folder / "main.gin", mapping)
    assert dict(first.parts) == dict(second.parts)
    assert first.resolved() == second.resolved()
    assert first.part("model").width == 64
    assert (first.part("zero").clip_high, first.part("rl1").clip_high) == (0.5, 0.2)


def test_a_value_of_a_sweep_goes_back_in_as_an_override(folder):
    experiment = read_experiment(folder / "main.gin")
    for key, values in experiment.part("sweep").each.items():
        for value in values[:1]:
            varied = read_experiment(folder / "main.gin", [f"{key}={experiment.text(value)}"])
            part, _, field = key.partition(".")
            assert getattr(varied.part(part), field) == value
    assert varied.part("zero").start is varied.part("base")


def test_a_variation_is_what_reading_with_the_same_overrides_gives(folder):
    experiment = read_experiment(folder / "main.gin")
    before, offered = experiment.resolved(), alternatives(experiment.drafts, "sweep.each")
    assert {key: len(changes) for key, changes in offered.items()} == {"zero.clip_high": 2, "zero.start": 2}
    for change, text in zip(offered["zero.clip_high"], ("0.2", "0.28"), strict=True):
        varied = experiment.vary([change, offered["zero.start"][0]], {"base.steps": 3})
        assert (
            varied.resolved()
            == read_experiment(folder / "main.gin", [f"zero.clip_high={text}", "base.steps=3"]).resolved()
        )
        assert varied.part("zero").start is varied.part("base") is not experiment.part("base")
    assert experiment.resolved() == before
    with pytest.raises(InputError, match=r"main\.gin:14: .*\n +\^{4}$"):
        experiment.vary([offered["zero.start"][1]])
    with pytest.raises(InputError, match="did you mean 'clip_high'"):
        experiment.vary([], {"zero.clip_hihg": 0.1})


def test_the_resolved_file_reads_back_to_the_same_parts_and_gives_itself(folder):
    experiment = read_experiment(folder / "main.gin", ["width=48"])
    (folder / "resolved.gin").write_text(experiment.resolved())
    again = read_experiment(folder / "resolved.gin")
    assert {name: again.part(name) for name in experiment.parts} == dict(experiment.parts)
    assert again.resolved() == experiment.resolved()
    assert "include" not in experiment.resolved() and "%" not in experiment.resolved()
    assert "sweep" not in experiment.resolved(["rl1"])


def test_an_unknown_part_is_named_with_the_nearest(folder):
    with pytest.raises(InputError, match="main.gin defines no part 'zeor'; did you mean 'zero'"):
        read_experiment(folder / "main.gin").part("zeor")


def test_every_part_and_field_knows_its_line(folder):
    experiment = read_experiment(folder / "main.gin", ["base.steps=3"])
    main, tiny = folder / "main.gin", folder / "models" / "tiny.gin"
    assert experiment.source("zero") == f"{main}:6"
    assert experiment.source("zero.clip_high") == f"{main}:11"
    assert experiment.source("rl1.clip_high") == f"{main}:9"
    assert experiment.source("model.width") == f"{tiny}:3"
    assert experiment.source("base.steps") == "command line"


def test_the_sources_of_the_user_s_modules_are_hashed(folder):
    experiment = read_experiment(folder / "main.gin")
    files = {"toy_rewards": Path("toy_rewards.py"), "toy_stages": folder / "toy_stages.py"}
    expected = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert dict(experiment.user_sources) == expected
    base = experiment.part("base")
    assert user_sources(base).keys() == {"toy_stages"}
    assert user_sources(experiment.part("zero")) == expected


def test_a_stage_is_hashed_by_its_own_settings_and_its_parent_s_hash(folder):
    def hashes(overrides=()):
        experiment = read_experiment(folder / "main.gin", overrides)
        stages = {id(experiment.part(name)): name for name in ("base", "zero", "rl1")}
        found = {}
        for name in stages.values():
            stage = experiment.part(name)
            found[name] = hash_json(
                describe(stage, lambda value: found[stages[id(value)]] if id(value) in stages else None, is_hashed)
            )
        return found

    first = hashes()
    assert hashes() == first and len(set(first.values())) == 3
    assert {name for name, value in hashes(["zero.clip_high=0.3"]).items() if value != first[name]} == {"zero", "rl1"}
    assert {name for name, value in hashes(["rl1.clip_high=0.3"]).items() if value != first[name]} == {"rl1"}
    assert {name for name, value in hashes(["width=33"]).items() if value != first[name]} == {"base", "zero", "rl1"}
    assert hashes(["base.log_every=1"]) == first


def test_an_object_without_a_name_is_described_by_the_file_s_own_text(folder):
    (folder / "toy_stages.py").write_text(MODULE + "\nimport itertools\ncounter = itertools.count().__next__\n")
    (folder / "main.gin").write_text(MAIN + "zero.aggregate = @toy_stages.counter\n")
    experiment = read_experiment(folder / "main.gin")
    zero = experiment.part("zero")
    assert experiment.describe(zero)["aggregate"] == "@toy_stages.counter"
    assert "zero.aggregate = @toy_stages.counter\n" in experiment.resolved()


def test_the_same_file_gives_the_same_text_in_any_process(folder):
    command = "import sys; from reasoning.experiment.reader import read_experiment; e = read_experiment(sys.argv[1])\n"
    command += "print(e.resolved(), e.describe(e.part('rl1')), dict(e.user_sources))"
    outputs = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"}
        environment["PYTHONPATH"] = str(Path(inspect.getfile(reasoning)).parents[1])
        arguments = [sys.executable, "-c", command, str(folder / "main.gin")]
        outputs.add(subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(outputs) == 1 and "rl1.clip_high = 0.2" in outputs.pop()
