import importlib
import re
import sys
from dataclasses import replace

import pytest
import tiny_stages

from reasoning.core.errors import InputError
from reasoning.data.sources import Jsonl
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.identity import identities, identity_differences

MESH = {"data": 2, "fsdp": 1}


def known(run, seed=0, mesh=MESH):
    return identities(build_graph(run.stages), seed, mesh)


def hashes(run, **surroundings):
    return {name: identity.hash for name, identity in known(run, **surroundings).items()}


def test_equal_runs_have_equal_hashes(kit):
    assert hashes(kit.chain()) == hashes(kit.chain())


def test_a_setting_changes_its_stage_and_everything_made_from_it(kit):
    before, after = hashes(kit.chain()), hashes(kit.chain(zero={"number": 2}))
    assert {name for name in before if before[name] != after[name]} == {"zero", "exam"}


def test_a_setting_of_an_inner_part_counts(kit):
    assert hashes(kit.chain()) != hashes(kit.chain(zero={"inner": kit.Inner(rate=0.25)}))


def test_fields_marked_as_not_hashed_change_nothing_even_in_inner_parts(kit):
    changed = {"log_every": 3, "inner": kit.Inner(shown=2)}
    assert hashes(kit.chain()) == hashes(kit.chain(base=changed, zero=changed))
    assert known(kit.chain(base=changed))["base"].settings["log_every"] == 3


def test_seed_and_mesh_change_every_stage(kit):
    before = hashes(kit.chain())
    for after in (hashes(kit.chain(), seed=1), hashes(kit.chain(), mesh={"data": 1, "fsdp": 2})):
        assert not set(before.values()) & set(after.values())


def test_a_stage_with_a_seed_of_its_own_does_not_depend_on_the_runs(kit):
    corpus = kit.Seeded("corpus", seed=7)
    run = replace(kit.chain(), stages=(replace(kit.chain().stages[0], others=(corpus,)),))
    before, after = known(run), known(run, seed=1)
    assert before["corpus"].hash == after["corpus"].hash and before["exam"].hash != after["exam"].hash
    assert (after["corpus"].seed, after["exam"].seed) == (7, 1)
    unset = replace(run, stages=(kit.Seeded("corpus"),))
    assert known(unset)["corpus"].hash != known(unset, seed=1)["corpus"].hash


def test_checkpoint_settings_of_the_run_and_where_metrics_go_change_nothing(kit):
    other = kit.chain(checkpoint_every=3, keep=9, keep_every=2, hang_minutes=9.0, log_to=("tensorboard",))
    assert hashes(kit.chain()) == hashes(other)


def test_a_name_counts_because_randomness_comes_from_it(kit):
    run = kit.chain()
    renamed = replace(run, stages=(replace(run.stages[0], name="test"),))
    assert hashes(run)["exam"] != hashes(renamed)["test"]


def test_which_field_a_parent_stands_in_counts(kit):
    base = kit.Add("base")
    as_start, as_other = kit.Add("zero", start=base), kit.Add("zero", others=(base,))
    assert hashes(replace(kit.chain(), stages=(as_start,))) != hashes(replace(kit.chain(), stages=(as_other,)))


def test_changes_name_the_fields_that_differ(kit):
    before = known(kit.chain())["zero"]
    after = known(kit.chain(zero={"number": 2, "inner": kit.Inner(rate=0.25)}), seed=3)["zero"]
    record = {"settings": before.settings, "seed": 0, "mesh": MESH, "sources": {}}
    assert identity_differences(record, after) == ("number 1 -> 2", "inner.rate 0.5 -> 0.25", "seed 0 -> 3")
    assert identity_differences(record, before) == ()


USER_MODULE = """
from dataclasses import dataclass, field
from collections.abc import Callable
from reasoning.core.artifact import NOT_HASHED, Outcome
from reasoning.stages.stage import Stage

@dataclass(frozen=True)
class Mine:
    name: str = ""
    start: Stage | None = None
    rewards: tuple[Callable[[int], int], ...] = ()
    probe: Callable[[int], int] | None = field(default=None, metadata=NOT_HASHED)

    def run(self, inputs, out, context):
        return Outcome("results")
"""

FILE = """
run = @pipeline.Run
run.stages = (zero,)
base = @{stages}.Mine
zero = @{stages}.Mine
zero.start = base
zero.rewards = (@{rewards}.double,)
base.probe = @{rewards}.double
"""


@pytest.fixture
def user_run(tmp_path):
    """Writes two modules of a user and a file that uses them, and reads it as a fresh process would."""
    stages, rewards = f"stages_{tmp_path.name}", f"rewards_{tmp_path.name}"
    (tmp_path / f"{stages}.py").write_text(USER_MODULE)
    (tmp_path / "run.gin").write_text(FILE.format(stages=stages, rewards=rewards))

    def reading(source):
        (tmp_path / f"{rewards}.py").write_text(source)
        for module in (stages, rewards):
            sys.modules.pop(module, None)
        importlib.invalidate_caches()
        experiment = read_experiment(tmp_path / "run.gin")
        run = experiment.part("run")
        return identities(build_graph(run.stages), 0, MESH, experiment)

    yield reading
    for module in (stages, rewards):
        sys.modules.pop(module, None)


def test_the_source_of_a_users_function_counts_for_the_stages_that_use_it(user_run):
    before = user_run("def double(x):\n    return 2 * x\n")
    after = user_run("def double(x):\n    return x + x + 0\n")
    assert before["zero"].hash != after["zero"].hash
    # The base uses it too, but only in a field that changes no result.
    assert before["base"].settings["probe"].endswith(".double")
    assert before["base"].hash == after["base"].hash and list(before["base"].sources) == list(after["base"].sources)
    assert not any(name.startswith("rewards_") for name in before["base"].sources)
    (line,) = identity_differences(vars(before["zero"]), after["zero"])
    assert re.fullmatch("the source of rewards_.* was edited", line)


def test_a_function_that_nobody_can_find_again_is_refused(kit):
    number = 3
    stage = replace(kit.Add("base"), inner=lambda: number)
    with pytest.raises(InputError):
        hashes(replace(kit.chain(), stages=(stage,)))


def test_kernels_that_a_file_names_count_and_those_that_devices_choose_do_not(kit):
    graph = build_graph(kit.chain().stages)
    chosen = identities(graph, 0, MESH)
    assert identities(graph, 0, MESH, None, "auto") == chosen
    named = identities(graph, 0, MESH, None, "chunked")
    assert all(named[name].hash != chosen[name].hash for name in chosen)
    before = {"settings": chosen["base"].settings, "seed": 0, "mesh": MESH, "sources": {}}  # of before there were any
    assert identity_differences(before, named["base"]) == ("kernels auto -> chunked",)
    assert identity_differences(before, chosen["base"]) == ()


def test_another_exam_makes_other_rows_of_files_and_the_same_rows_of_programs(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "3+4"}')
    reading = replace(tiny_stages.CORPUS, name="reading", sources=(Jsonl(str(path)),), tokenizer=tiny_stages.CORPUS)

    def found(count: int, split: str = "test", **changes):
        problems = replace(tiny_stages.TEST, count=count, split=split)
        exam = tiny_stages.examine(
            tiny_stages.tune(data=replace(reading, **changes)), quiz=tiny_stages.quiz(problems=problems)
        )
        told = identities(build_graph((exam,)), 0, MESH)
        return told["corpus"].hash, told["reading"].hash

    assert found(4)[0] == found(5)[0] and found(4)[1] != found(5)[1] != found(5, "train")[1]
    assert found(4, cleaning=()) == found(5, cleaning=())
