"""How well a run's warnings tell trouble: 12 planted failures, each to be named, and 20 healthy runs.

Nine failures are real runs of tiny stages that were set up wrongly, three are real runs' metrics that were bent. Every
healthy run is a stage of seconds with a seed of its own.

    python benchmarks/doctor.py /tmp/doctor [--healthy 20]
"""

import argparse
import json
import math
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax

from reasoning.core.artifact import Artifact
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.data.sources import Generated
from reasoning.evaluation.exam import Exam
from reasoning.models.config import BlockKind, ModelConfig, Stack
from reasoning.rewards.accuracy import strict
from reasoning.stages import GRPO, SFT, Prepare, Pretrain, TokenizerTraining, rows
from reasoning.stages.stage import Context
from reasoning.tasks.chains import Chains, term_symbols
from reasoning.tasks.problems import ProblemSet
from reasoning.tasks.worked_corpus import Demonstrations, WorkedCorpus
from reasoning.training.diagnosis import Limits, Subject
from reasoning.training.metrics import MetricsLog
from reasoning.training.optimizers import AdamW
from reasoning.training.watching import Watch

SHORT = {"minimum_operands": 2, "maximum_operands": 3}
MODEL = ModelConfig(
    vocabulary=80,
    width=32,
    heads=2,
    mlp_width=64,
    stacks=(Stack(1, (BlockKind("relu2"),)),),
    context=48,
    learned_positions=True,
    embedding_std=0.1,
)
OPTIMIZER = AdamW(3e-3, warmup=4)
CORPUS = Prepare(
    name="corpus",
    sources=(Generated(WorkedCorpus(Chains(**SHORT)), count=600),),
    tokenizer=TokenizerTraining(kind="char", size=80, symbols=term_symbols),
    length=48,
)
EXAMPLES = replace(
    CORPUS, name="examples", sources=(Generated(Demonstrations(Chains(**SHORT)), 200),), tokenizer=CORPUS
)
BASE = Pretrain(name="base", model=MODEL, data=CORPUS, optimizer=OPTIMIZER, steps=120, batch=16)
TRAIN = ProblemSet(tasks=(Chains(**SHORT),), split="train", count=64)
TEST = replace(TRAIN, split="test", count=8)


def digits(completions: list[str], **columns: Any) -> list[float]:
    """The share of a reply's characters that are digits."""
    return [sum(letter.isdigit() for letter in text) / max(len(text), 1) for text in completions]


def ends(completions: list[str], truncated: list[bool], **columns: Any) -> list[float]:
    """1 for a reply that ends by itself."""
    return [float(not cut) for cut in truncated]


def balanced(completions: list[str], truncated: list[bool], **columns: Any) -> list[float]:
    """Most for a reply that ends, half of whose characters are digits: no single token has it."""
    shares = digits(completions)
    return [2 * min(share, 1 - share) * (not cut) for share, cut in zip(shares, truncated, strict=True)]


def long(completions: list[str], **columns: Any) -> list[float]:
    """More for a longer reply."""
    return [len(text) / 20 for text in completions]


def constant(completions: list[str], **columns: Any) -> list[float]:
    """The same for all."""
    return [0.3] * len(completions)


def chance(completions: list[str], **columns: Any) -> list[float]:
    """Nothing that can be learnt: a number that no reply keeps to the next step."""
    chance.calls = getattr(chance, "calls", 0) + 1
    return [random.Random(zlib.crc32(f"{chance.calls}/{at}".encode())).random() for at in range(len(completions))]


def zero(**changes: Any) -> GRPO:
    settings = {"start": BASE, "problems": TRAIN, "optimizer": AdamW(3e-3), "max_new_tokens": 24, "steps": 40}
    sizes = {"questions": 4, "samples": 8, "rewards": (digits, ends), "reward_weights": (1.0, 0.2)}
    return GRPO(**{"name": "zero", **settings, **sizes, **changes})


def sft(**changes: Any) -> SFT:
    settings = {"start": BASE, "data": EXAMPLES, "optimizer": OPTIMIZER, "steps": 40, "batch": 8}
    return SFT(**{"name": "sft", **settings, **changes})


class Shifted(GRPO):
    """A sampler with other weights than the trainer's."""

    def source(self, *arguments: Any) -> Any:
        found = super().source(*arguments)
        publish = found.sampler.publish

        def shifted(params: Any) -> Any:
            return publish(jax.tree.map(lambda leaf: leaf * 1.15, params))

        return replace(found, sampler=replace(found.sampler, publish=shifted))


@contextmanager
def slow_data() -> Iterator[None]:
    """Rows that take a tenth of a second."""
    usual = rows.token_batches

    def late(*arguments: Any, **named: Any) -> Any:
        batches = usual(*arguments, **{**named, "prefetch": 0})

        def take(numbers: list[int]) -> Any:
            time.sleep(0.1)
            return batches.take(numbers)

        return replace(batches, take=take)

    with patch.object(rows, "token_batches", late):
        yield


@dataclass
class Bench:
    """Runs stages in a folder and hears what they warn of; what they start from is made once."""

    folder: Path
    made: dict[str, Artifact] = field(default_factory=dict)

    def run(self, stage: Any, label: str, seed: int = 0) -> tuple[str, ...]:
        """What was warned of."""
        heard: list[str] = []
        parents = ((name, getattr(stage, name, None)) for name in ("start", "data", "tokenizer"))
        inputs = {name: self.make(parent) for name, parent in parents if hasattr(parent, "run")}
        out = self.folder / label
        out.mkdir(parents=True)
        context = Context(
            mesh=build_mesh(MeshShape(), jax.devices()[:1]),
            seed=seed,
            report=lambda progress: None,
            warn=heard.append,
            stop=lambda step: None,
            checkpoint_every=1000,
            keep=1,
            keep_every=0,
        )
        outcome = stage.run(inputs, out, context)
        self.made[label] = Artifact(out, outcome.kind, stage.name, "", outcome.results)
        return tuple(heard)

    def make(self, stage: Any) -> Artifact:
        """The artifact of a parent."""
        if stage.name not in self.made:
            self.run(stage, stage.name)
        return self.made[stage.name]

    def bent(self, label: str, bend: Callable[[dict[str, Any], float], None], subject: Subject) -> tuple[str, ...]:
        """What is warned of where a real run's rows are bent, each with its share of the steps, and are looked at."""
        heard: list[str] = []
        lines = (self.folder / label / "metrics.jsonl").read_text().splitlines()
        log = MetricsLog(self.folder / f"bent-{bend.__name__}")
        watch = Watch("bent", subject, Limits(), log, heard.append)
        for number, line in enumerate(lines, start=1):
            row = json.loads(line)
            bend(row, number / len(lines))
            watch.look(number, {name: row[name] for name in row if name != "step"}, {})
        return tuple(heard)


def kinds(heard: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of warnings, which stand at their ends."""
    return tuple(text.rpartition(" (")[2].partition(", step")[0] for text in heard if ", step " in text)


def collapse(row: dict[str, Any], share: float) -> None:
    """Entropy that decays to nothing, and a reward that stays."""
    row["entropy"] = row.get("entropy", 1.0) * math.exp(-12 * max(0.0, share - 0.3))
    row["reward"] = 0.2 + 0.02 * math.sin(40 * share)


def hack(row: dict[str, Any], share: float) -> None:
    """A reward that is had for nothing from the middle on."""
    row["rewards/ends/mean"] = (0.1 if share < 0.4 else 0.9) + 0.02 * math.sin(50 * share)
    row["rewards/digits/mean"] = 0.3 + 0.02 * math.cos(37 * share)


def drift(row: dict[str, Any], share: float) -> None:
    """A sampler that drifts away from the trainer."""
    row["sampling/sampling_logp_difference/mean"] = 0.002 * math.exp(6 * share)


def failures(bench: Bench, steps: int) -> Mapping[str, tuple[str, Callable[[], tuple[str, ...]]]]:
    """Each planted failure: what it must be called, and how it is made."""
    quiz = Exam(problems=TEST, scores=(strict,), max_new_tokens=1, samples=1, batch=8)
    rewarded = Subject(by_loss=False, by_rewards=True, steps=steps)
    wild, broken, fast = AdamW(1e6, clip_norm=1e9), AdamW(1e30, weight_decay=1.0), AdamW(1e-2)
    heating = AdamW(0.3, warmup=60)

    def alone(reward: Any, **changes: Any) -> GRPO:
        return zero(rewards=(reward,), reward_weights=(1.0,), **changes)

    def starved() -> tuple[str, ...]:
        with slow_data():
            return bench.run(sft(steps=20), "starved")

    real = {
        "pretraining at a learning rate of 1e6": ("divergence", replace(BASE, name="wild", optimizer=wild, steps=30)),
        "updates that aren't finite": ("divergence", sft(optimizer=broken, skips_allowed=100)),
        "GRPO that is warmed up far too hot": ("divergence", alone(balanced, optimizer=heating, steps=60)),
        "a constant reward": ("reward without signal", alone(constant, steps=15)),
        "a reward by chance, learnt fast": ("entropy collapse", alone(chance, optimizer=AdamW(3e-2), steps=60)),
        "a reward for length": ("length runaway", alone(long, optimizer=fast, steps=60)),
        "a sampler with other weights": ("sampler/trainer mismatch", Shifted(**vars(zero(steps=15)))),
        "a probe of one token": ("stale probe", zero(probe=quiz, probe_every=4, optimizer=fast)),
    }
    bent = {
        "bent: entropy decays": ("entropy collapse", collapse),
        "bent: one reward jumps": ("reward hacking", hack),
        "bent: the sampler drifts": ("sampler/trainer mismatch", drift),
    }
    planted: dict[str, tuple[str, Callable[[], tuple[str, ...]]]] = {
        label: (kind, partial(bench.run, stage, label.replace(" ", "_"))) for label, (kind, stage) in real.items()
    }
    planted["rows that come late"] = ("data starvation", starved)
    return planted | {
        label: (kind, partial(bench.bent, "healthy-zero-0", bend, rewarded)) for label, (kind, bend) in bent.items()
    }


def healthy(bench: Bench, count: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """So many healthy stages, three of a seed, each with what it was warned of."""
    stages = {"base": replace(BASE, name="base"), "sft": sft(), "zero": zero(probe=None)}
    for number in range(count):
        name = list(stages)[number % 3]
        label = f"healthy-{name}-{number // 3}"
        yield label, bench.run(stages[name], label, seed=number // 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="a new folder for the runs")
    parser.add_argument("--healthy", type=int, default=20, help="healthy runs")
    chosen = parser.parse_args()
    bench = Bench(Path(chosen.folder))
    started, alarms, named = time.monotonic(), 0, 0
    for label, heard in healthy(bench, chosen.healthy):
        alarms += bool(heard)
        print(f"{label:18} {'; '.join(heard) or 'nothing'}", flush=True)
    planted = failures(bench, 40)
    for label, (kind, make) in planted.items():
        heard = make()
        found = kind in kinds(heard)
        named += found
        print(f"{'named ' if found else 'MISSED'} {label} ({kind}): {'; '.join(heard) or 'nothing'}", flush=True)
    print(
        f"{named} of {len(planted)} failures named, {alarms} of {chosen.healthy} healthy runs with a warning, "
        f"{time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
