"""Sampling for stages that learn from their own completions: the same for the same step, and resumable."""

from dataclasses import replace

import jax
import numpy as np
from tiny_stages import NEW_TOKENS, TRAIN, Surroundings, reinforce

from reasoning.core.artifact import Artifact
from reasoning.generation.engine import Rollouts
from reasoning.models.parameters import Params
from reasoning.rollouts.prompt_sampler import PromptSampler, completion_metrics
from reasoning.stages.checkpoint import model_of, tokenizer_of
from reasoning.stages.trainee import sampler_of, trainee_of


def sampler_and_params(base: Artifact, seed: int = 0) -> tuple[PromptSampler, Params]:
    context = Surroundings(seed=seed).context()
    trainee = trainee_of(reinforce(), base, context)
    return sampler_of(reinforce(), trainee, tokenizer_of(base), context), trainee.start()


def test_rows_are_the_prompts_of_the_problems_and_what_was_sampled_to_them(base: Artifact):
    sampler, params = sampler_and_params(base)
    sampled = sampler(params, 0)
    tokenizer, chat = tokenizer_of(base), reinforce().chat
    rows = {name: values.reshape(4, 4, -1) for name, values in sampled.rows.items()}
    for place, problem in enumerate(sampled.problems):
        prompt = tokenizer.encode(chat.prompt(problem.question))
        for number in range(4):
            length = int(sampled.rollouts.lengths[place, number])
            written = [*prompt, *sampled.rollouts.tokens[place, number, :length]]
            np.testing.assert_array_equal(rows["tokens"][place, number, : len(written)], written)
            assert rows["loss_mask"][place, number].sum() == length <= NEW_TOKENS
    assert {problem.question for problem in sampled.problems} <= {problem.question for problem in TRAIN.problems()}


def test_the_same_step_gives_the_same_completions_and_another_step_or_seed_gives_others(base: Artifact):
    def completions(step: int, seed: int = 0) -> np.ndarray:
        sampler, params = sampler_and_params(base, seed)
        return sampler(params, step).rollouts.tokens

    first = completions(0)
    np.testing.assert_array_equal(first, completions(0))
    assert not np.array_equal(first, completions(1)) and not np.array_equal(first, completions(0, seed=1))


def test_a_further_attempt_at_a_step_goes_on_with_the_prompts_and_draws_other_numbers(base: Artifact):
    sampler, params = sampler_and_params(base)
    other, _ = sampler_and_params(base)
    first, second = sampler(params, 0), sampler(params, 0, 1)
    np.testing.assert_array_equal(first.rollouts.tokens, other(params, 0, 0).rollouts.tokens)
    again = other(params, 1)
    assert second.problems == again.problems
    assert not np.array_equal(second.rollouts.tokens, again.rollouts.tokens)


def test_it_goes_on_with_the_prompts_that_come_next(base: Artifact):
    sampler, params = sampler_and_params(base)
    sampler(params, 0)
    cursor, expected = sampler.get_state(), sampler(params, 1)
    resumed, _ = sampler_and_params(base)
    resumed.set_state(cursor)
    again = resumed(params, 1)
    assert again.problems == expected.problems
    np.testing.assert_array_equal(again.rollouts.tokens, expected.rollouts.tokens)


def test_lengths_and_cut_shares_are_means_over_all_completions():
    tokens = np.zeros((2, 2, 3))
    rollouts = Rollouts(tokens, tokens, np.array([[1, 2], [3, 3]]), np.array([[False, False], [True, False]]))
    metrics = completion_metrics(rollouts)
    assert metrics == {"completions/mean_length": 2.25, "completions/clipped_ratio": 0.25}


def test_stages_of_one_model_and_group_share_an_engine(base: Artifact):
    context = Surroundings().context()
    model, tokenizer = model_of(base, context.mesh), tokenizer_of(base)
    assert model is model_of(base, context.mesh)
    one, other = (
        sampler_of(stage, trainee_of(stage, base, context), tokenizer, context)
        for stage in (reinforce(), replace(reinforce(), name="rl1", temperature=0.5))
    )
    assert one.engine is other.engine
    assert not np.array_equal(jax.random.key_data(one.key), jax.random.key_data(other.key))
