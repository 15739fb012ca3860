"""Steps called by hand on a task of plain ids: say the prompt's first token again, then stop."""

from functools import partial

import jax
import numpy as np
import pytest
from batched import token_batch
from drawn import drawn

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model
from reasoning.objectives.aggregation import token_mean
from reasoning.training.functional import grpo_steps, rows_of, supervised_steps
from reasoning.training.optimizers import AdamW
from reasoning.training.token_scores import score

END = 1
CONFIG = ModelConfig(vocabulary=12, width=16, heads=2, mlp_width=32, stacks=(Stack(1),), context=16, embedding_std=0.5)


def prompts(step: int, count: int = 8) -> list[list[int]]:
    random = np.random.default_rng(step)
    return [[int(token), 0] for token in random.integers(2, 12, count)]


def examples(step: int) -> list[tuple[list[int], list[int]]]:
    return [(prompt, [prompt[0], END]) for prompt in prompts(step)]


@pytest.fixture(scope="module")
def model():
    return build_model(CONFIG, build_mesh(MeshShape(), jax.devices()[:1]))


@pytest.fixture(scope="module")
def tuned(model):
    start = drawn(model.shapes, 0, 0.25)
    steps = list(supervised_steps(model, start, (examples(step) for step in range(20)), AdamW(3e-3), 20))
    return start, steps


def test_fine_tuning_lowers_the_loss_and_leaves_its_start_alone(model, tuned):
    start, steps = tuned
    losses = [loss for _, loss in steps]
    assert np.mean(losses[-3:]) < losses[0] - 0.5
    jax.tree.map(np.testing.assert_array_equal, start, drawn(model.shapes, 0, 0.25))
    assert all(np.isfinite(leaf).all() for params, _ in steps for leaf in jax.tree.leaves(params))  # no step took them


def test_the_first_loss_is_the_mean_over_the_replies_tokens(model, tuned):
    start, steps = tuned
    rows = {name: jax.numpy.asarray(values) for name, values in rows_of(examples(0), 16).items()}
    batch = token_batch(rows, token_mean, 16)
    log_probs = jax.jit(partial(score, model))(start, batch).log_prob_BT
    np.testing.assert_allclose(steps[0][1], -np.mean(np.asarray(log_probs)[:, 1:3]), rtol=1e-5)


@pytest.mark.slow
def test_grpo_raises_the_reward(model, tuned):
    _, steps = tuned

    def repeats(prompt, completion):
        return float(completion[0] == prompt[0])

    asked = (prompts(step, 8) for step in range(40))
    settings = {"group": 16, "max_new_tokens": 2, "end_ids": (END,)}
    rewards = [reward for _, reward in grpo_steps(model, steps[-1][0], asked, repeats, AdamW(1e-2), 40, **settings)]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.2, rewards


def test_rewards_that_are_not_finite_and_examples_that_do_not_fit_are_refused(model):
    start = drawn(model.shapes, 0, 0.25)
    settings = {"group": 2, "max_new_tokens": 2, "end_ids": (END,)}
    with pytest.raises(InputError, match="step 0: the reward function gave"):
        next(grpo_steps(model, start, [prompts(0, 2)], lambda *texts: float("nan"), AdamW(1e-3), 1, **settings))
    with pytest.raises(InputError, match="longest example has 17 tokens"):
        rows_of([([0] * 9, [1] * 8)], 16)
    with pytest.raises(InputError, match="longest example has 0"):
        rows_of([], 16)


def test_rows_are_padded_and_only_replies_carry_loss():
    rows = rows_of([([5, 0], [5, 1]), ([7], [7])], 16)
    np.testing.assert_array_equal(rows["tokens"], [[5, 0, 5, 1], [7, 7, 0, 0]])
    np.testing.assert_array_equal(rows["loss_mask"], [[0, 0, 1, 1], [0, 1, 0, 0]])
    np.testing.assert_array_equal(rows["segments"], [[1, 1, 1, 1], [1, 1, 0, 0]])
    np.testing.assert_array_equal(rows["positions"], [[0, 1, 2, 3]] * 2)
