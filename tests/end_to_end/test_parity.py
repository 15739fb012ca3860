"""Every family of checkpoints against transformers' own numbers (parity/make_golden.py), whole and token by token."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.files import read_json
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.formats.checkpoint_reader import import_checkpoint
from reasoning.models.formats.families import from_hf, read_config
from reasoning.models.model import build_model

GOLDEN = Path(__file__).parents[1] / "models" / "parity"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/golden.npz"))
TOLERANCE = 1e-5
PREFIX = 5  # tokens that are prefilled before decoding goes on one by one, far past the window of 8


def loaded(name, **changes):
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    config = replace(read_config(GOLDEN / name), **changes)
    params = import_checkpoint(GOLDEN / name, config, mesh, "float32")
    with np.load(GOLDEN / name / "golden.npz") as saved:
        return build_model(config, mesh), params, dict(saved)


def whole(model, params, golden):
    """Hidden states [T, D] of the golden sequence, computed at once."""
    tokens_BT = jnp.asarray(golden["tokens"])[None]
    order_BT = jnp.arange(tokens_BT.shape[1])[None]
    hidden_BTD, _ = jax.jit(model.hidden_states)(params, tokens_BT, order_BT, jnp.ones_like(tokens_BT))
    return hidden_BTD[0]


def check(model, params, hidden_TD, golden):
    """Argmax equal, log-sum-exp and logits within the tolerance, relative where they are above one."""
    logits_TV = np.asarray(hidden_TD, np.float64) @ np.asarray(model.unembedding(params), np.float64)
    cap = model.config.logit_soft_cap
    if cap:
        logits_TV = cap * np.tanh(logits_TV / cap)
    np.testing.assert_array_equal(logits_TV.argmax(-1), golden["argmax"])
    largest_T = logits_TV.max(-1)
    log_sum_exp_T = largest_T + np.log(np.exp(logits_TV - largest_T[:, None]).sum(-1))
    np.testing.assert_allclose(log_sum_exp_T, golden["log_sum_exp"], rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(logits_TV[:, golden["columns"]], golden["logits"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_sequence_gives_the_numbers_of_transformers(name):
    model, params, golden = loaded(name)
    check(model, params, whole(model, params, golden), golden)


def of_blocks(change):
    """Changes every block kind of a config."""
    return lambda config: replace(
        config, stacks=tuple(replace(stack, pattern=tuple(map(change, stack.pattern))) for stack in config.stacks)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mistral", of_blocks(lambda kind: replace(kind, window=kind.window + 1))),
        ("gemma2", lambda config: replace(config, attention_soft_cap=config.attention_soft_cap * 1.01)),
        ("gemma3", lambda config: replace(config, rope=replace(config.rope, factor=7.9))),
        ("qwen2_yarn", lambda config: replace(config, rope=replace(config.rope, truncate=True))),
        ("olmo2", lambda config: replace(config, rope=replace(config.rope, base=499_000.0))),
        ("olmo3", lambda config: replace(config, rope=replace(config.rope, attention_factor=1.199))),
        ("gpt_oss", of_blocks(lambda kind: replace(kind, window=kind.window and 9))),
        ("gpt_oss", of_blocks(lambda kind: replace(kind, activation="swiglu"))),
        (
            "deepseek_v3",
            of_blocks(lambda kind: kind.moe and replace(kind, moe=replace(kind.moe, active_groups=3)) or kind),
        ),
    ],
)
def test_a_setting_that_is_off_by_little_is_noticed(name, change):
    model, params, golden = loaded(name)
    wrong = build_model(change(model.config), model.mesh)
    with pytest.raises(AssertionError):
        check(wrong, params, whole(wrong, params, golden), golden)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_cached_decoding_past_the_window_gives_the_numbers_of_transformers(name):
    model, params, golden = loaded(name)
    tokens = jnp.asarray(golden["tokens"])
    weights = jax.jit(model.publish)(params)
    cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), model.cache_shapes(1, len(tokens)))
    hidden_BD, cache = jax.jit(model.prefill)(weights, tokens[None, :PREFIX], jnp.array([PREFIX]), cache)
    hidden = [hidden_BD[0]]
    decode = jax.jit(model.decode)
    for token in tokens[PREFIX:]:
        hidden_BD, cache = decode(weights, token[None], cache)
        hidden.append(hidden_BD[0])
    rest = {name: golden[name][PREFIX - 1 :] for name in ("argmax", "log_sum_exp", "logits")}
    check(model, params, jnp.stack(hidden), {**golden, **rest})


def test_deepseeks_multi_token_layer_gives_the_numbers_of_transformers():
    model, params, golden = loaded("multi_token/deepseek_v3", multi_token=1)
    tokens_BT = jnp.asarray(golden["tokens"])[None]
    rest = (tokens_BT, jnp.arange(tokens_BT.shape[1])[None], jnp.ones_like(tokens_BT))
    hidden_BTD, _ = jax.jit(model.hidden_states)(params, *rest)
    (states_BTD,), _ = jax.jit(model.multi_token_states)(params, hidden_BTD, *rest)
    check(model, params, states_BTD[0, :-1], golden)  # the last place has no next token


@pytest.mark.parametrize("name", [name for name in NAMES if (GOLDEN / name / "old").is_dir()])
def test_the_older_dialect_of_a_config_describes_the_same_model(name):
    assert from_hf(read_json(GOLDEN / name / "old" / "config.json")) == read_config(GOLDEN / name)
