import pytest

from reasoning.core.errors import InputError
from reasoning.models.formats.family_settings import ARCHITECTURES, DEFAULTS, EVERYWHERE, check_settings


def test_each_family_has_an_architecture_and_its_own_defaults_are_right():
    assert ARCHITECTURES.keys() == DEFAULTS.keys()
    for family, defaults in DEFAULTS.items():
        check_settings(family, {**EVERYWHERE, **defaults})


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"hidden_size": 0}, "whole number from 1 up"),
        ({"hidden_size": True}, "whole number"),
        ({"torch_dtype": ["a"]}, "expected a text"),
        ({"dtype": {"a": 1}}, "expected a text"),
        ({"hidden_size": None}, "null"),
        ({"n_shared_experts": -1}, "whole number from 0 up"),
        ({"rope_theta": 0}, "above 0"),
        ({"mscale": -0.5}, "above 0"),
        ({"rms_norm_eps": "1e-6"}, "above 0"),
        ({"attention_bias": True}, "isn't supported"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(values, word):
    [name] = values
    with pytest.raises(InputError, match=f"config.json: {name} is .*{word}"):
        check_settings("llama", values)


@pytest.mark.parametrize("name", ["head_dim", "q_lora_rank", "sliding_window", "attn_logit_softcapping", "mscale"])
def test_null_is_as_good_as_nothing_where_a_family_says_so(name):
    check_settings("llama", {name: None})
