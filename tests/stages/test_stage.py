from dataclasses import dataclass, replace

from reasoning.core.artifact import Outcome
from reasoning.stages.stage import is_stage


def test_a_frozen_dataclass_with_name_and_run_is_a_stage():
    @dataclass(frozen=True)
    class Fake:
        name: str = ""

        def run(self, inputs, out, context):
            return Outcome("results")

    assert is_stage(replace(Fake(), name="exam"))
    assert not is_stage(Outcome("results"))
    assert not is_stage(Fake)
