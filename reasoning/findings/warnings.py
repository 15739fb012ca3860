"""What was warned of while stages trained: rewards that jumped alone, and what the trainer said."""

from reasoning.findings.facts import Facts
from reasoning.findings.jumps import jump_words, jumps
from reasoning.findings.stages import StageFacts
from reasoning.training.diagnosis import HACKING


def reward_warnings(facts: Facts) -> tuple[tuple[str, str], ...]:
    """(stage, sentence) for each jump of a reward that the others didn't follow, and what was warned of meanwhile."""
    alone = tuple((stage.name, jump_words(jump)) for stage in facts.stages for jump in jumps(stage))
    warned = ((stage.name, f"{head}: {words}") for stage in facts.stages for head, words in other_warnings(stage))
    return (*alone, *warned)


def other_warnings(stage: StageFacts) -> tuple[tuple[str, str], ...]:
    """(step and kind, sentence) of what was warned of while a stage trained, but for jumps that are told anyway."""
    told = {HACKING} if jumps(stage) else set[str]()
    return tuple(
        (f"step {row.get('step')}, {row.get('kind')}", str(row.get("words")))
        for row in stage.warnings
        if row.get("kind") not in told
    )
