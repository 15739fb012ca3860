"""Which replies are shown: those of the checkpoints that tell most, and what was asked again while a stage learnt."""

from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts
from reasoning.findings.stages import Row, StageFacts


def chosen_checkpoints(facts: Facts, evaluation: Evaluation) -> tuple[str, ...]:
    """Three at most to show side by side: the base, the first that rewards trained, and the last."""
    names = tuple(evaluation.checkpoints)
    if len(names) <= 3:
        return names
    rewarded = [name for name in names[1:-1] if facts.learns_from(name) == "rewards"]
    return (names[0], (rewarded or names[1:])[0], names[-1])


def probes_by_problem(stage: StageFacts) -> dict[object, list[Row]]:
    """A stage's probes, problem by problem in the order of the file; rows of another form are left out."""
    by_problem: dict[object, list[Row]] = {}
    for row in stage.probes:
        texts = all(isinstance(row.get(name), str) for name in ("question", "answer", "text"))
        if texts and all(isinstance(row.get(name), int) for name in ("step", "problem")):
            by_problem.setdefault(row.get("problem"), []).append(row)
    return by_problem
