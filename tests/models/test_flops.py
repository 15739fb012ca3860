import jax
import jax.numpy as jnp
import pytest

from reasoning.models.config import BlockKind, ModelConfig, Stack
from reasoning.models.flops import forward_flops, matmul_parameters, training_flops
from reasoning.models.lora import LoRA, adapters_of, base_of, with_adapters
from reasoning.models.model import adapter_count, build_model, parameter_count, with_lora

SIZES = {"vocabulary": 64, "width": 32, "heads": 4, "kv_heads": 2, "mlp_width": 48, "context": 16}
CONFIGS = [
    ModelConfig(**SIZES, stacks=(Stack(3, (BlockKind("swiglu"), BlockKind("relu2"))),)),
    ModelConfig(**SIZES, stacks=(Stack(1),), head_dim=16),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_matrix_but_the_embedding_counts(config):
    norms = (2 * config.layers + 1) * config.width
    assert matmul_parameters(config) == parameter_count(build_model(config, None)) - norms - 64 * 32


def test_a_tied_unembedding_counts_though_it_has_no_parameters_of_its_own():
    tied = ModelConfig(**SIZES, stacks=(Stack(1),), tied=True)
    untied = ModelConfig(**SIZES, stacks=(Stack(1),))
    assert matmul_parameters(tied) == matmul_parameters(untied)


def test_the_formula_is_near_what_the_compiler_counts():
    config = ModelConfig(vocabulary=512, width=128, heads=4, mlp_width=512, stacks=(Stack(1),), context=64)
    model = build_model(config, None)
    rows = jax.ShapeDtypeStruct((4, 64), jnp.int32)

    def forward(params, tokens):
        hidden, _ = model.hidden_states(params, tokens, tokens * 0, tokens * 0 + 1)
        return hidden @ model.unembedding(params)

    counted = jax.jit(forward).lower(model.shapes, rows).compile().cost_analysis()["flops"]
    assert forward_flops(config, 4 * 64, 64) == pytest.approx(counted, rel=0.1)


def test_training_frozen_weights_takes_no_products_for_their_gradients_as_the_compiler_counts():
    config = ModelConfig(vocabulary=512, width=128, heads=4, mlp_width=512, stacks=(Stack(1),), context=64)
    rows = jax.ShapeDtypeStruct((4, 64), jnp.int32)
    model = with_lora(build_model(config, None), LoRA(rank=8, alpha=8.0))

    def loss(adapters, base, tokens):
        params = with_adapters(base, adapters)
        hidden, _ = model.hidden_states(params, tokens, tokens * 0, tokens * 0 + 1)
        return jnp.sum(jnp.sin(hidden @ model.unembedding(params)))

    both = adapters_of(model.shapes), base_of(model.shapes)
    counted = jax.jit(jax.grad(loss)).lower(*both, rows).compile().cost_analysis()["flops"]
    found = training_flops(config, adapter_count(model), 4 * 64, 64)
    assert found == pytest.approx(counted, rel=0.1)
    assert found < 0.8 * training_flops(config, 0, 4 * 64, 64)
