"""A model of another project, Llama 3 of Tunix, trains and samples with the same programs: extra ``tunix``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from reasoning.models.foreign import ForeignModel, foreign_model
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import token_batch
from reasoning.training.functional import grpo_steps, supervised_steps
from reasoning.training.optimizers import AdamW
from reasoning.training.token_scores import score

llama3 = pytest.importorskip("tunix.models.llama3.model", reason="pip install -e '.[tunix]'")
VOCABULARY, END = 32, 1

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")  # Tunix speaks to older Flax


def attention_mask(segments_BT: jax.Array) -> jax.Array:
    """[B, T, T]: earlier tokens of a token's own segment, and itself."""
    order = jnp.arange(segments_BT.shape[1])
    return (order[:, None] >= order) & (segments_BT[:, :, None] == segments_BT[:, None, :])


@pytest.fixture(scope="module")
def brought() -> tuple[ForeignModel, dict[str, Any], Any]:
    """The model under our names, its parameters, and its own logits as a function of them."""
    config = llama3.ModelConfig(
        num_layers=2,
        vocab_size=VOCABULARY,
        embed_dim=32,
        hidden_dim=64,
        num_heads=4,
        head_dim=8,
        num_kv_heads=2,
        rope_theta=10_000,
        norm_eps=1e-5,
    )
    graph, state = nnx.split(llama3.Llama3(config, rngs=nnx.Rngs(0)))

    def hidden_states(params, tokens, positions, segments):
        model = nnx.merge(graph, params)
        x = model.embedder.encode(tokens)
        for layer in model.layers:
            _, x = layer(x, positions, None, attention_mask(segments))
        return model.final_norm(x)

    def logits(params, tokens, positions, segments):
        return nnx.merge(graph, params)(tokens, positions, None, attention_mask(segments))[0]

    params = nnx.to_pure_dict(state)
    with pytest.warns(UserWarning, match="brings no cache"):
        model = foreign_model(params, hidden_states, lambda params: params["lm_head"]["w"], context=16)
    return model, params, logits


def test_scores_are_those_of_its_own_logits(brought):
    model, params, logits = brought
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (2, 12)).astype(np.int32)
    segments = np.repeat([[1] * 7 + [2] * 5], 2, axis=0).astype(np.int32)
    positions = np.repeat([[*range(7), *range(5)]], 2, axis=0).astype(np.int32)
    rows = {"tokens": tokens, "positions": positions, "segments": segments, "loss_mask": np.ones_like(tokens)}
    batch = token_batch(jax.tree.map(jnp.asarray, rows), token_mean, 12)
    found = score(model, params, batch).log_prob_BT
    own = jax.nn.log_softmax(logits(params, tokens, positions, segments))
    expected = jnp.take_along_axis(own, jnp.maximum(batch.targets, 0)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(found * batch.mask, expected * batch.mask, atol=1e-5)


def test_it_learns_by_examples_and_then_by_reinforcement(brought):
    model, params, _ = brought
    random = np.random.default_rng(0)

    def prompts(count):
        return [[int(value)] for value in random.integers(2, 10, count)]

    examples = ([(prompt, [prompt[0] + 8, END]) for prompt in prompts(16)] for _ in range(30))
    tuned = list(supervised_steps(model, params, examples, AdamW(5e-3), 30))
    assert tuned[-1][1] < 0.3 * tuned[0][1]

    def judge(prompt, completion):
        return float(completion == [prompt[0] + 8, END])

    settings = {"group": 8, "max_new_tokens": 3, "end_ids": (END,)}
    steps = list(grpo_steps(model, tuned[11][0], (prompts(8) for _ in range(40)), judge, AdamW(5e-3), 40, **settings))
    rewards = [reward for _, reward in steps]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.2
