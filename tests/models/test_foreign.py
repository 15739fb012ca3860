"""Models that a user brings, one of nnx and one of linen, train and sample with the very same programs as ours."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps
from batched import token_batch
from drawn import placed
from flax import linen as nn
from flax import nnx

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.foreign import foreign_model
from reasoning.models.model import build_model
from reasoning.objectives.aggregation import token_mean
from reasoning.training.losses import supervised
from reasoning.training.program import build_step
from reasoning.training.state import new_state
from reasoning.training.token_scores import score

VOCABULARY, WIDTH = 48, 16


class Averages(nnx.Module):
    """A causal model as plain as can be: each place sees the mean of its own segment so far."""

    def __init__(self, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
        self.inner = nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def __call__(self, tokens: jax.Array, segments: jax.Array) -> jax.Array:
        return self.inner(mean_so_far(self.embedding(tokens), segments))


class LinenAverages(nn.Module):
    """The same of linen, with a head of its own."""

    @nn.compact
    def __call__(self, tokens: jax.Array, segments: jax.Array) -> jax.Array:
        x = nn.Dense(WIDTH)(mean_so_far(nn.Embed(VOCABULARY, WIDTH)(tokens), segments))
        self.param("head", nn.initializers.lecun_normal(), (WIDTH, VOCABULARY))
        return x


def mean_so_far(x: jax.Array, segments: jax.Array) -> jax.Array:
    order = jnp.arange(x.shape[1])
    seen = (order[:, None] >= order) & (segments[:, :, None] == segments[:, None, :])
    return jnp.tanh(jnp.einsum("bts,bsd->btd", seen / seen.sum(-1, keepdims=True), x))


def of_nnx() -> tuple[Any, Any, Any]:
    graph, state = nnx.split(Averages(nnx.Rngs(0)))

    def hidden_states(params, tokens, positions, segments):
        return nnx.merge(graph, params)(tokens, segments)

    return nnx.to_pure_dict(state), hidden_states, lambda params: params["embedding"]["embedding"].T


def of_linen() -> tuple[Any, Any, Any]:
    module, row = LinenAverages(), jnp.zeros((1, 4), jnp.int32)
    params = module.init(jax.random.key(0), row, row)["params"]

    def hidden_states(params, tokens, positions, segments):
        return module.apply({"params": params}, tokens, segments)

    return dict(params), hidden_states, lambda params: params["head"]


@pytest.mark.filterwarnings("ignore:this model brings no cache")
@pytest.mark.parametrize("make", [of_nnx, of_linen])
@pytest.mark.parametrize("sizes", [{"data": 1}, {"data": 2, "fsdp": 2}], ids=str)
def test_a_users_model_trains_with_our_step_on_any_mesh(make, sizes):
    params, hidden_states, unembedding = make()
    mesh = build_mesh(MeshShape(**sizes), jax.devices()[: int(np.prod(list(sizes.values())))])
    model = foreign_model(params, hidden_states, unembedding, context=48, mesh=mesh)
    program = build_step(model, mesh, supervised(model), three_steps.OPTIMIZER, 2)
    fresh = partial(new_state, optimizer=three_steps.OPTIMIZER)
    state = jax.jit(fresh, out_shardings=program.shardings)(params)
    batch = token_batch({name: jnp.asarray(rows) for name, rows in three_steps.token_rows().items()}, token_mean, 48)
    losses = []
    for _ in range(3):
        state, sums = program.step(state, {}, batch)
        losses.append(float(sums["loss"][0]))
    logits = hidden_states(params, batch.tokens, batch.positions, batch.segments) @ unembedding(params)
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.targets[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(losses[0], -jnp.sum(picked * batch.weights), rtol=1e-5)
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this model brings no cache")
def test_what_it_samples_has_the_log_probabilities_that_training_gives():
    params, hidden_states, unembedding = of_nnx()
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = foreign_model(params, hidden_states, unembedding, context=32, mesh=mesh)
    engine = build_engine(model, mesh, SamplerSettings(4, 8, (3,)))
    prompts = [[5, 6, 7], [9, 10]]
    rollouts = engine.generate(engine.publish(params), prompts, [0, 1], jax.random.key(1), 1.0)
    for prompt, tokens, log_probs, lengths in zip(
        prompts, rollouts.tokens, rollouts.log_probs, rollouts.lengths, strict=True
    ):
        rows = jnp.asarray(np.concatenate([np.tile(prompt, (4, 1)), tokens], axis=1))
        ones = jnp.ones_like(rows)
        named = {"tokens": rows, "positions": ones, "segments": ones, "loss_mask": ones}
        scored = score(model, params, token_batch(named, token_mean, 16)).log_prob_BT[:, len(prompt) - 1 : -1]
        said = np.arange(8) < lengths[:, None]
        np.testing.assert_allclose(np.where(said, scored, 0), log_probs, atol=3e-5)


def test_sampling_without_a_cache_is_announced():
    with pytest.warns(UserWarning, match="brings no cache"):
        foreign_model(*of_nnx(), context=8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this model brings no cache")
def test_without_a_cache_our_own_decoder_says_the_same():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    ours = build_model(three_steps.CONFIG, mesh)
    params = placed(ours, mesh)
    states = partial(first, ours.hidden_states)
    model = foreign_model(params, states, ours.unembedding, context=48, mesh=mesh)
    said = []
    for one in (ours, model):
        engine = build_engine(one, mesh, SamplerSettings(2, 6, (3,)))
        said.append(engine.generate(engine.publish(params), [[5, 6, 7], [9]], [0, 1], jax.random.key(1), 1.0))
    np.testing.assert_array_equal(said[0].tokens, said[1].tokens)
    np.testing.assert_allclose(said[0].log_probs, said[1].log_probs, atol=3e-5)


def first(function, *arguments):
    return function(*arguments)[0]


def test_functions_that_do_not_fit_are_refused_with_their_shapes():
    params, hidden_states, unembedding = of_nnx()
    with pytest.raises(InputError, match=r"gave \(2, 3, 16\) and unembedding \(48, 16\)"):
        foreign_model(params, hidden_states, lambda params: unembedding(params).T, context=8)
    with pytest.raises(InputError, match="gave tuple and"):
        foreign_model(params, lambda *rows: (hidden_states(*rows), {}), unembedding, context=8)
