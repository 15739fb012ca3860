"""Stages so small that each takes seconds, a context to run them in, and the artifacts that they leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from drawn import drawn

from reasoning.core.artifact import Artifact
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.progress import Progress
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document
from reasoning.data.records import Row
from reasoning.data.sources import Generated
from reasoning.evaluation.exam import Candidate, Exam, Questions, candidate_of, questions_of
from reasoning.evaluation.methods import Greedy, Samples
from reasoning.evaluation.scorers import Scorer
from reasoning.models.config import BlockKind, ModelConfig, Stack
from reasoning.models.model import Model, build_model
from reasoning.models.parameters import Params
from reasoning.rewards.accuracy import lenient, strict
from reasoning.rewards.format import tagged
from reasoning.stages import GRPO, SFT, Evaluate, Prepare, Pretrain, TokenizerTraining
from reasoning.stages.checkpoint import model_of, params_of, save, tokenizer_of
from reasoning.stages.rollout_source import RolloutSource
from reasoning.stages.stage import Context
from reasoning.stages.trainee import trainee_of
from reasoning.tasks.chains import Chains, term_symbols
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.tasks.worked_corpus import Demonstrations, WorkedCorpus
from reasoning.training.optimizers import AdamW
from reasoning.training.state import TrainState, new_state

LENGTH = 32
NEW_TOKENS = 8
SHORT = {"minimum_operands": 2, "maximum_operands": 3}

MODEL = ModelConfig(
    vocabulary=80,
    width=16,
    heads=2,
    mlp_width=32,
    stacks=(Stack(1, (BlockKind("relu2"),)),),
    context=LENGTH,
    learned_positions=True,
    embedding_std=0.1,
)
OPTIMIZER = AdamW(1e-2, warmup=2)
CORPUS = Prepare(
    name="corpus",
    sources=(Generated(WorkedCorpus(Chains(**SHORT)), count=300),),
    tokenizer=TokenizerTraining(kind="char", size=80, symbols=term_symbols),
    length=LENGTH,
)
DEMONSTRATIONS = replace(
    CORPUS, name="examples", sources=(Generated(Demonstrations(Chains(**SHORT)), count=60),), tokenizer=CORPUS
)
BASE = Pretrain(name="base", model=MODEL, data=CORPUS, optimizer=OPTIMIZER, steps=24, batch=8)
TRAIN = ProblemSet(tasks=(Chains(**SHORT),), split="train", count=8)
TEST = replace(TRAIN, split="test", count=4)


@dataclass(frozen=True)
class Halves:
    """Problems whose right answers no reward for numbers can judge."""

    def problems(self, split: str, count: int, seed: int) -> tuple[Problem, ...]:
        return tuple(Problem(f"{number}+1?", f"{number}/2", "halves") for number in range(count))


HALVES = replace(TRAIN, tasks=(Halves(),), count=4)
REFUSED = "the reward number can't judge the problem '..1.' .halves.: it has the right answer './2'"
"""What is said of ``HALVES`` where ``rewards.numbers.number`` is to judge them."""


def quiz(**changes: Any) -> Exam:
    """Four held-out problems."""
    settings = {"problems": TEST, "scores": (strict, lenient), "rates": (tagged,), "max_new_tokens": NEW_TOKENS}
    return Exam(**{**settings, "samples": 4, "batch": 4, **changes})


def tune(**changes: Any) -> SFT:
    """A few steps of fine-tuning on demonstrations."""
    settings = {"start": BASE, "data": DEMONSTRATIONS, "optimizer": OPTIMIZER, "steps": 6, "batch": 8}
    return SFT(**{"name": "sft", **settings, **changes})


def reinforce(**changes: Any) -> GRPO:
    """A few steps of reinforcement learning."""
    settings = {"start": BASE, "problems": TRAIN, "optimizer": OPTIMIZER, "max_new_tokens": NEW_TOKENS}
    sizes = {"steps": 2, "questions": 4, "samples": 4, "rewards": (early_end,), "reward_weights": (1.0,)}
    return GRPO(**{"name": "zero", **settings, **sizes, **changes})


def examine(*checkpoints: Any, **changes: Any) -> Evaluate:
    """The final exam of these stages."""
    settings = {"quiz": quiz(), "methods": (Greedy(), Samples(ks=(2, 3)))}
    return Evaluate(**{"name": "exam", "checkpoints": checkpoints, **settings, **changes})


def candidate(checkpoint: Artifact, exam: Exam | None = None, devices: int = 1) -> Candidate:
    """A checkpoint ready to be asked an exam, by default the quiz."""
    exam, mesh = exam or quiz(), Surroundings(devices=devices).context().mesh
    model = model_of(checkpoint, mesh)
    return candidate_of(exam, model, mesh, tokenizer_of(checkpoint), partial(params_of, checkpoint, model, mesh))


def questions_for(candidate: Candidate) -> Questions:
    """The candidate's exam as it reads it."""
    return questions_of(candidate.exam, candidate.tokenizer, candidate.model.config.context)


def source_and_state(
    stage: GRPO, base: Artifact, scorers: Mapping[str, Scorer] | None = None
) -> tuple[RolloutSource, TrainState]:
    """Where a stage's batches come from, without rollouts that are kept, and the state before its first step."""
    stage, context = replace(stage, rollouts_every=0), Surroundings().context()
    trainee = trainee_of(stage, base, context)
    state = jax.jit(partial(new_state, optimizer=OPTIMIZER.build(4)))(trainee.start())
    return stage.source(trainee, tokenizer_of(base), Path(), context, scorers or {}), state


def early_end(completions: list[str], truncated: list[bool], **columns: Any) -> list[float]:
    """1 for a completion that ends before the limit: a token that a model can learn to choose in a few steps."""
    return [float(not cut) for cut in truncated]


def plain(seed: int, index: int, chat: ChatFormat) -> Document:
    """Documents of another alphabet than the chains'."""
    return chat.plain("abc" * (1 + index % 3))


@dataclass
class Surroundings:
    """A context that remembers what it is told; ``stop_at`` asks to stop after that step."""

    stop_at: int = 0
    seed: int = 0
    devices: int = 1
    shape: MeshShape = MeshShape()
    reports: list[Progress] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def context(self) -> Context:
        return Context(
            mesh=build_mesh(self.shape, jax.devices()[: self.devices]),
            seed=self.seed,
            report=self.reports.append,
            warn=self.warnings.append,
            stop=lambda step: 15 if step == self.stop_at else None,
            checkpoint_every=100,
            keep=2,
            keep_every=0,
        )


def work(
    stage: Any, folder: Path, inputs: Mapping[str, Any] | None = None, surroundings: Surroundings | None = None
) -> Artifact:
    """Runs one stage in a folder of its name, as a pipeline would, and gives its artifact."""
    out = folder / stage.name
    out.mkdir(parents=True, exist_ok=True)
    outcome = stage.run(inputs or {}, out, (surroundings or Surroundings()).context())
    return Artifact(out, outcome.kind, stage.name, outcome.array_hash, outcome.results)


def untrained(folder: Path, name: str, config: ModelConfig, data: Artifact) -> Artifact:
    """A checkpoint of random parameters, for the tokenizer of ``data``."""
    model = build_model(config, Surroundings().context().mesh)
    (folder / name).mkdir()
    outcome = save(folder / name, model, drawn(model.shapes, 5), tokenizer_of(data), {})
    return Artifact(folder / name, outcome.kind, name, outcome.array_hash, {})


def log_losses(model: Model, params: Params, rows: Sequence[Row]) -> list[float]:
    """The cross-entropy of each token of the rows that is learnt, in float64 from whole logits."""
    columns = {name: np.stack([row[name] for row in rows]) for name in ("tokens", "positions", "segments", "loss_mask")}
    tokens, learnt = columns["tokens"], np.argwhere(columns["loss_mask"] == 1)
    hidden, _ = jax.jit(model.hidden_states)(params, *(jnp.asarray(columns[name]) for name in list(columns)[:3]))
    logits = np.asarray(hidden, np.float64) @ np.asarray(model.unembedding(params), np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return [-log_probs[row, place - 1, tokens[row, place]] for row, place in learnt]
