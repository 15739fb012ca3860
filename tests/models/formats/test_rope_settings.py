import math

import pytest

from reasoning.core.errors import InputError
from reasoning.models.config import Latent, ModelConfig, Rope, Stack
from reasoning.models.formats.rope_settings import from_rope, mscale, read_ropes, score_growth, to_rope

BASE = {"rope_theta": 10_000.0, "max_position_embeddings": 163_840}
DEEPSEEK = {
    "type": "yarn",
    "factor": 40,
    "original_max_position_embeddings": 4096,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}


def rope(**values):
    return to_rope(read_ropes({**BASE, **values})["full_attention"])


def model(rope, latent=None, scale=0.0):
    return ModelConfig(64, 32, 4, 48, (Stack(1),), 64, rope=rope, latent=latent, attention_scale=scale)


def test_both_dialects_say_the_same():
    new = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32_768}
    old = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    assert rope(rope_parameters=new) == rope(rope_theta=1e6, rope_scaling=old)


def test_yarn_grows_attention_by_a_tenth_of_the_factors_logarithm():
    assert rope(rope_scaling={"type": "yarn", "factor": 4.0}).attention_factor == 1.0 + 0.1 * math.log(4.0)


def test_yarn_takes_its_factor_from_the_contexts_where_none_is_given():
    assert rope(rope_scaling={"type": "yarn", "original_max_position_embeddings": 4096}).factor == 40.0


def test_equal_mscales_cancel_in_deepseeks_factor_and_square_in_its_scale():
    values = read_ropes({**BASE, "rope_scaling": DEEPSEEK})["full_attention"]
    assert to_rope(values).attention_factor == 1.0
    assert score_growth(values) == pytest.approx((0.1 * math.log(40.0) + 1.0) ** 2, rel=1e-15)


def test_only_gemmas_full_layers_are_stretched():
    ropes = read_ropes({**BASE, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_local_base_freq": 5e3})
    assert to_rope(ropes["full_attention"]) == Rope(10_000.0, "linear", 8.0)
    assert to_rope(ropes["sliding_attention"]) == Rope(5e3)


@pytest.mark.parametrize(
    "one",
    [
        Rope(5e5),
        Rope(1e4, "linear", 8.0),
        Rope(5e5, "llama3", 8.0, 8192, 1.0, 4.0),
        Rope(1e6, "yarn", 4.0, 4096, attention_factor=mscale(4.0, 1.0)),
        Rope(1e6, "yarn", 4.0, 4096, beta_fast=20.0, beta_slow=2.0, truncate=False, attention_factor=1.25),
    ],
)
def test_what_is_written_is_read_back(one):
    assert rope(rope_theta=one.base, rope_scaling=from_rope(model(one), one)) == one


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.707, 1.0), (0.7, 0.4)])
def test_deepseeks_two_weights_are_found_again_from_what_they_do(weights):
    scaling = {**DEEPSEEK, "mscale": weights[0], "mscale_all_dim": weights[1]}
    values = read_ropes({**BASE, "rope_scaling": scaling})["full_attention"]
    config = model(to_rope(values), Latent(16, 0, 12, 8, 10), 20**-0.5 * score_growth(values))
    written = from_rope(config, config.rope)
    assert (written["mscale"], written["mscale_all_dim"]) == pytest.approx(weights, rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rope_scaling": {"type": "yarn"}}, "of type yarn has no factor, expected a number"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "of type yarn has no factor"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "of type yarn has no factor"),
        ({"rope_scaling": {"type": "yarn", "factor": None}}, "of type yarn has no factor"),
        ({"rope_scaling": {"rope_type": "linear"}}, "of type linear has no factor"),
        ({"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}}, "has no factor"),
        ({"rope_scaling": {"factor": 4.0}}, "has factor 4.0 and no rope_type, expected linear"),
    ],
)
def test_stretched_positions_that_say_not_how_far_or_how_are_refused(settings, match):
    with pytest.raises(InputError, match=match):
        rope(**settings)
