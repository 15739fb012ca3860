"""Equal settings give the very same jitted functions, to a run and to a plan."""

from tiny_stages import MODEL, Surroundings, reinforce

from reasoning.models.model import build_model
from reasoning.stages.policy_programs import Assembling, policy_programs

MESH = Surroundings().context().mesh


def test_equal_settings_give_the_same_functions():
    stage = reinforce()
    groups = stage.groups(longest_prompt=9)
    model = build_model(MODEL, MESH)
    assembling = Assembling(4, 1, stage.advantage, stage.select, None, stage.aggregate, stage.max_new_tokens)
    first, again = (policy_programs(MESH, model, "auto", 1.0, assembling, None, groups) for _ in range(2))
    assert first == again == stage.between(MESH, model, "auto", groups)
    assert first.assemble is not first.assemble_graded and first.correct is None
    assert first.score is first.score_start  # without adapters there is one model
