from dataclasses import replace

from reasoning.findings.warnings import other_warnings, reward_warnings
from reasoning.training.diagnosis import HACKING


def test_rewards_that_jumped_alone_are_told_before_what_else_was_warned_of(facts):
    zero = facts.stage("zero")
    rows = tuple(
        {"step": step, "rewards/strict/mean": 0.4 + 0.01 * (step % 3), "rewards/bonus/mean": 0.8 * (step > 30)}
        for step in range(1, 51)
    )
    said = ({"step": 31, "kind": HACKING, "words": "bonus"}, {"step": 9, "kind": "entropy", "words": "fell"})
    fooled = replace(zero, metrics=rows, record={}, warnings=said)
    (stage, jump), later = reward_warnings(replace(facts, stages=(fooled,)))
    assert stage == "zero" and jump.startswith("bonus jumped from 0.00 to 0.80 about step 31")
    assert later == ("zero", "step 9, entropy: fell") and not reward_warnings(facts)
    assert [head for head, _ in other_warnings(replace(zero, warnings=said))] == [
        f"step 31, {HACKING}",
        "step 9, entropy",
    ]
