from dataclasses import replace

from reasoning.findings.environments import environment, environments


def test_where_stages_ran_is_told_once_and_in_full_where_they_differ(facts):
    told = environments(facts)
    assert {name: [*values] for name, values in told.items()} == {
        "seed": ["0"], "reasoning": ["0.1.0 (commit 0123456789ab)"], "devices": ["2 × cpu"], "python": ["3.11.7"],
        "jax": ["0.10.2"],
    }  # fmt: skip
    first, *others = facts.stages
    later = replace(first, record={"seed": 1, "environments": [{"code": {"commit": "ab", "changed": True}}]})
    both = environments(replace(facts, stages=(*others, later)))
    assert [*both["seed"]] == ["0", "1"] and [*both["reasoning"]][1] == "not installed (commit ab with changes)"
    assert dict(environment(replace(first, record={"environments": [3]}))) == {}
