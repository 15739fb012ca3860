"""Train steps against PyTorch: SFT on packed rows, and GRPO, each through the programs that the stages run.

The other side has transformers' model, ``torch.optim.AdamW`` and the papers' formulas, and sees every document and
every completion as a row of its own.

Legend: P prompts, G completions of each, N completions or documents, L time.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from agreement_models import (
    Compared,
    Pair,
    apart,
    draws,
    families,
    imported,
    leaves_apart,
    log_probs_of,
    one_device,
    padded,
    varied,
    worst,
)
from agreement_models import pair as pair_of

from reasoning.core import mesh as meshes
from reasoning.data.documents import Document, Piece
from reasoning.data.packing import PackingCounts, first_fit, pack
from reasoning.generation.engine import Rollouts
from reasoning.models.parameters import Params
from reasoning.objectives.advantages import group_normalized, groups_with_signal
from reasoning.objectives.aggregation import constant_length, sequence_mean, token_mean
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import Clipped
from reasoning.training.losses import policy, supervised
from reasoning.training.optimizers import AdamW
from reasoning.training.policy_rows import policy_rows
from reasoning.training.program import StepProgram, build_assembling, build_batching, build_scoring, build_step
from reasoning.training.state import new_state

VOCABULARY = 160
AGGREGATES = (token_mean, sequence_mean, constant_length)

# An epsilon that isn't negligible, so that gradients of the size of their own rounding don't become whole steps.
SFT = AdamW(
    learning_rate=3e-3, warmup=2, decay_share=0.5, final_share=0.1, weight_decay=0.1, clip_norm=0.3, epsilon=1e-5
)
STEPS, ROWS, LENGTH, DOCUMENTS = 6, 6, 32, 120

GRPO = AdamW(learning_rate=2e-3, weight_decay=0.1, clip_norm=1.0, epsilon=1e-5)
ROLLOUTS, UPDATES, PROMPTS, SAMPLES, NEW = 3, 2, 4, 4, 12
CLIP_LOW, CLIP_HIGH, KL, TEMPERATURE = 0.1, 0.15, 0.05, 0.7

PARAMETERS_WITHIN, NUMBERS_WITHIN, GRADIENTS_WITHIN = 3e-5, 1e-5, 3e-6


@dataclass(frozen=True)
class Learnt:
    """What a run leaves: its last parameters and the numbers of each update, the loss first."""

    params: Params
    numbers: list[list[float]]


def compared(name: str, against: str, start: Pair, ours: Learnt, theirs: Learnt) -> Iterator[Compared]:
    """Two lines: parameters after the last update, and the numbers of all updates."""
    moved, cases = leaves_apart(theirs.params, start.params), len(theirs.numbers)
    difference = leaves_apart(ours.params, theirs.params)
    yield Compared(f"{name}: parameters (moved {moved:.1e})", against, 1, difference, PARAMETERS_WITHIN)
    yield Compared(f"{name}: losses, norms", against, cases, apart(ours.numbers, theirs.numbers), NUMBERS_WITHIN)


def started(start: Pair, loss_fn: Any, settings: AdamW, steps: int, microbatches: int) -> tuple[StepProgram, Any]:
    """The program of a stage and its first state, from copies, since a step donates what it gets."""
    optimizer = settings.build(steps)
    program = build_step(start.model, one_device(), loss_fn, optimizer, microbatches)
    fresh: Any = jax.jit(partial(new_state, optimizer=optimizer), out_shardings=program.shardings)
    return program, fresh(jax.tree.map(jnp.copy, start.params))


class Torch:
    """PyTorch's side of a run: a copy of the model, AdamW, a clip of the global norm and the schedule."""

    def __init__(self, start: Pair, settings: AdamW, steps: int):
        self.model, self.settings, self.steps, self.done = copy.deepcopy(start.theirs), settings, steps, 0
        named = list(self.model.named_parameters())
        plain = [value for name, value in named if "norm" in name or name.endswith("bias")]
        decayed = [value for name, value in named if not ("norm" in name or name.endswith("bias"))]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
        )

    def rate(self) -> float:
        """Linear from 0 over the warm-up, flat, and linear to the final share over the last steps."""
        last = max(1, round(self.settings.decay_share * self.steps))
        gone = max(0, self.done - (self.steps - last)) / last if self.settings.decay_share else 0.0
        risen = min(1.0, (self.done + 1) / max(1, self.settings.warmup))
        return self.settings.learning_rate * risen * (1 - gone * (1 - self.settings.final_share))

    def update(self, loss: torch.Tensor) -> list[float]:
        """One step on a loss; its value, and the gradient's norm before the clip."""
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.done += 1
        return [loss.item(), norm.item()]

    def learnt(self, numbers: list[list[float]]) -> Learnt:
        """The model's parameters as we import them."""
        return Learnt(imported(copy.deepcopy(self.model).float())[1], numbers)


def weights_of(aggregate: Any, mask_NL: torch.Tensor, rows: int, length: int) -> torch.Tensor:
    """What each token weighs, of ``mask_NL`` with one completion a row, as the aggregations' papers have it.

    ``rows`` and ``length`` are those that Dr. GRPO divides by; completions without a token that counts are left out.
    """
    tokens_N1 = mask_NL.sum(1, keepdim=True)
    if aggregate is token_mean:
        return mask_NL / mask_NL.sum()
    if aggregate is sequence_mean:
        return mask_NL / tokens_N1.clamp(min=1) / (tokens_N1 > 0).sum()
    return mask_NL / (rows * length)


class Ids:
    """A tokenizer whose texts are ids."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """One id a word."""
        return [[int(word) for word in text.split()] for text in texts]


Example = tuple[list[int], list[int]]
"""A document's ids, and 1 for each that is learnt."""


def packed(random: np.random.Generator) -> tuple[dict[str, np.ndarray], list[list[Example]]]:
    """``STEPS * ROWS`` packed rows, and of each step the documents that lie in its rows, as they were before packing.

    Raises ValueError where rows hold something that was no document.
    """
    examples = {}
    for prompt, reply in zip(random.integers(2, 8, DOCUMENTS), random.integers(1, 18, DOCUMENTS), strict=True):
        (ids,) = draws(random, [prompt + reply], VOCABULARY)
        examples[tuple(ids)] = (ids, [0] * prompt + [1] * reply)

    def texts(ids: list[int], learn: list[int]) -> Document:
        text = [" ".join(str(one) for one, flag in zip(ids, learn, strict=True) if flag == which) for which in (0, 1)]
        return Document((Piece(text[0], False), Piece(text[1], True)))

    documents = [texts(*example) for example in examples.values()]
    made = list(pack(documents, Ids(), LENGTH, first_fit, PackingCounts()))[: STEPS * ROWS]
    rows = {name: np.stack([row[name] for row in made]) for name in made[0]}
    held = [
        [
            examples.pop(tuple(row["tokens"][row["segments"] == one].tolist()))
            for one in range(1, row["segments"].max() + 1)
        ]
        for row in made
    ]
    return rows, [sum(held[step * ROWS : (step + 1) * ROWS], []) for step in range(STEPS)]


def their_gradients(theirs: Any, examples: list[Example]) -> tuple[float, Params]:
    """The mean loss of all tokens that are learnt, and its gradients under our names."""
    model = copy.deepcopy(theirs)
    tokens, learn = zip(*examples, strict=True)
    mask_NL = padded(learn)[:, 1:].float()
    loss = -(weights_of(token_mean, mask_NL, 0, 0) * log_probs_of(model, tokens)).sum()
    loss.backward()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.0 * value if value.grad is None else value.grad)
        for name, value in model.named_buffers():
            if "e_score_correction_bias" in name:  # imported as a parameter, and changed by no gradient
                value.zero_()
    return loss.item(), imported(model)[1]


def gradients(seed: int) -> Iterator[Compared]:
    """The supervised loss of every family on packed rows, and its gradient, against the documents one a row."""
    losses, differences = [], []
    for number, case in enumerate(families().values()):
        random = np.random.default_rng([seed, number])
        start = pair_of(varied(case, random), int(random.integers(2**31)))
        rows, examples = packed(random)
        batch = build_batching(one_device(), token_mean, LENGTH)({name: rows[name][:ROWS] for name in rows})
        loss_fn = supervised(start.model)
        both = jax.jit(jax.value_and_grad(lambda params, batch, loss_fn=loss_fn: loss_fn(params, {}, batch)[0]))
        loss, ours = both(start.params, batch)
        their_loss, theirs = their_gradients(start.theirs, examples[0])
        losses.append(apart(loss, their_loss))
        differences.append(leaves_apart(ours, theirs))
    against = "torch, unpacked"
    yield Compared(f"losses of packed rows, {len(losses)} checkpoints", against, *worst(losses), NUMBERS_WITHIN)
    yield Compared("gradients of packed rows", against, *worst(differences), GRADIENTS_WITHIN)


def supervised_steps(seed: int) -> Iterator[Compared]:
    """Six steps on packed rows in three microbatches, against the same documents one a row in one batch."""
    start = pair_of(families()["qwen2"], seed)
    rows, examples = packed(np.random.default_rng(seed))
    for aggregate in AGGREGATES:
        program, state = started(start, supervised(start.model), SFT, STEPS, microbatches=3)
        batching = build_batching(one_device(), aggregate, LENGTH)
        other, ours, theirs = Torch(start, SFT, STEPS), [], []
        for step in range(STEPS):
            mine = {name: values[step * ROWS : (step + 1) * ROWS] for name, values in rows.items()}
            state, sums = program.step(state, {}, batching(meshes.to_global(one_device(), mine)))
            ours.append([float(sums[name][0]) for name in ("loss", "grad_norm")])
            tokens, learn = zip(*examples[step], strict=True)
            weights_NL = weights_of(aggregate, padded(learn)[:, 1:].float(), ROWS, LENGTH)
            theirs.append(other.update(-(weights_NL * log_probs_of(other.model, tokens)).sum()))
        name = f"SFT, {aggregate.__name__}"
        yield from compared(name, "torch AdamW, unpacked", start, Learnt(state.params, ours), other.learnt(theirs))


@dataclass(frozen=True)
class Sampled:
    """Fixed completions of fixed prompts, and their rewards [P, G]."""

    prompts: list[list[int]]
    rollouts: Rollouts
    rewards: np.ndarray

    def sequences(self) -> list[list[int]]:
        """Each prompt with each completion, one after the other."""
        return [
            [*prompt, *tokens[:length].tolist()]
            for prompt, *group in zip(self.prompts, self.rollouts.tokens, self.rollouts.lengths, strict=True)
            for tokens, length in zip(*group, strict=True)
        ]

    def mask(self) -> torch.Tensor:
        """1 where a token, from the second on, belongs to a completion."""
        starts = [len(prompt) for prompt in self.prompts for _ in range(SAMPLES)]
        both = zip(starts, self.sequences(), strict=True)
        return padded([[0] * start + [1] * (len(whole) - start) for start, whole in both])[:, 1:].float()


def sampled(random: np.random.Generator) -> Sampled:
    """Completions of all lengths up to the limit; the second group's rewards are all equal, so it has no signal."""
    lengths_PG = random.integers(1, NEW + 1, (PROMPTS, SAMPLES))
    tokens_PGN = random.integers(3, VOCABULARY, (PROMPTS, SAMPLES, NEW)) * (np.arange(NEW) < lengths_PG[..., None])
    rewards_PG = random.choice([0.0, 0.25, 1.0], (PROMPTS, SAMPLES))
    rewards_PG[:, 0], rewards_PG[:, 1], rewards_PG[1] = 0.0, 1.0, 0.7
    rollouts = Rollouts(tokens_PGN.astype(np.int32), 0.0 * tokens_PGN, lengths_PG, lengths_PG == NEW)
    return Sampled(draws(random, random.integers(2, 9, PROMPTS), VOCABULARY), rollouts, rewards_PG)


NUMBERS = ("loss", "grad_norm", "kl", "clip_ratio/low_mean", "clip_ratio/high_mean")


def our_policy_steps(start: Pair, aggregate: Any, all_sampled: list[Sampled]) -> Learnt:
    """As the stage does it: rows, one assembled batch, old and reference log-probabilities, two updates."""
    model, mesh = start.model, one_device()
    surrogate = Clipped(CLIP_LOW, CLIP_HIGH)
    loss_fn = policy(model, loss=surrogate, kl=k3, kl_coefficient=KL, temperature=TEMPERATURE)
    program, state = started(start, loss_fn, GRPO, ROLLOUTS * UPDATES, microbatches=2)
    assemble = build_assembling(mesh, SAMPLES, group_normalized, groups_with_signal, aggregate, NEW)
    score, numbers = build_scoring(model, mesh, TEMPERATURE), []
    for one in all_sampled:
        rows = policy_rows(one.prompts, one.rollouts, model.context, ())
        batch = assemble(*meshes.to_global(mesh, (rows, np.float32(one.rewards).reshape(-1))))
        scores = {"old_log_probs": score(state.params, batch.rows).log_prob_BT}
        scores["reference_log_probs"] = score(start.params, batch.rows).log_prob_BT
        batch = replace(batch, **scores)
        for _ in range(UPDATES):
            state, sums = program.step(state, {}, batch)
            numbers.append([float(sums[name][0] / sums[name][1]) for name in NUMBERS])
    return Learnt(state.params, numbers)


def their_policy_steps(start: Pair, aggregate: Any, all_sampled: list[Sampled]) -> Learnt:
    """GRPO by its papers: arXiv 2402.03300, eq. 3 and 4, with two clips and groups left out (2503.14476)."""
    other, numbers = Torch(start, GRPO, ROLLOUTS * UPDATES), []
    for one in all_sampled:
        rewards_PG = torch.tensor(one.rewards)
        deviation_P1 = rewards_PG.std(1, correction=1, keepdim=True)
        advantages_N1 = ((rewards_PG - rewards_PG.mean(1, keepdim=True)) / (deviation_P1 + 1e-4)).reshape(-1, 1).float()
        mask_NL = one.mask() * (rewards_PG.max(1).values > rewards_PG.min(1).values).repeat_interleave(SAMPLES)[:, None]
        weights_NL = weights_of(aggregate, mask_NL, PROMPTS * SAMPLES, NEW)
        with torch.no_grad():
            old_NL = log_probs_of(other.model, one.sequences(), TEMPERATURE)
            reference_NL = log_probs_of(start.theirs, one.sequences(), TEMPERATURE)
        for _ in range(UPDATES):
            new_NL = log_probs_of(other.model, one.sequences(), TEMPERATURE)
            ratio_NL = torch.exp(new_NL - old_NL)
            bounded_NL = ratio_NL.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
            surrogate_NL = torch.minimum(ratio_NL * advantages_N1, bounded_NL * advantages_N1)
            kl_NL = torch.exp(reference_NL - new_NL) - (reference_NL - new_NL) - 1
            updated = other.update((weights_NL * (KL * kl_NL - surrogate_NL)).sum())
            low_NL = (ratio_NL < 1 - CLIP_LOW) & (advantages_N1 < 0)
            high_NL = (ratio_NL > 1 + CLIP_HIGH) & (advantages_N1 > 0)
            means = ((values_NL * mask_NL).sum() / mask_NL.sum() for values_NL in (kl_NL, low_NL, high_NL))
            numbers.append([*updated, *(mean.item() for mean in means)])
    return other.learnt(numbers)


def policy_steps(seed: int) -> Iterator[Compared]:
    """Three sets of completions, two updates on each, in two microbatches, against the formulas on the whole."""
    start, random = pair_of(families()["qwen3"], seed), np.random.default_rng(seed)
    all_sampled = [sampled(random) for _ in range(ROLLOUTS)]
    for aggregate in AGGREGATES:
        ours = our_policy_steps(start, aggregate, all_sampled)
        theirs = their_policy_steps(start, aggregate, all_sampled)
        yield from compared(f"GRPO, {aggregate.__name__}", "torch, papers' formulas", start, ours, theirs)
