from dataclasses import replace

import pytest
from tiny_stages import BASE, CORPUS

from reasoning.core.artifact import read_artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape
from reasoning.data.records import read_records
from reasoning.pipeline.preview import preview
from reasoning.pipeline.run import Run


def look(kit, **changes):
    return preview(kit.chain(**changes), kit.out)


def test_a_preview_tells_order_parents_and_sizes_and_writes_nothing(kit):
    found = look(kit, zero={"number": 7})
    assert [(stage.name, stage.parents, stage.state) for stage in found.stages] == [
        ("base", (), "new"),
        ("zero", ("base",), "new"),
        ("exam", ("base", "zero"), "new"),
    ]
    assert found.stages[1].sizes == {"additions": 7}
    assert not kit.out.exists()


def test_a_preview_tells_what_is_done(kit):
    kit.run(kit.chain(), only=("base",))
    assert [stage.state for stage in look(kit).stages] == ["finished", "new", "new"]


def test_a_file_for_a_larger_machine_can_be_looked_at(kit):
    found = look(kit, mesh=MeshShape(data=64))
    assert "64 devices" in found.obstacle and {stage.state for stage in found.stages} == {None}


def test_a_stage_that_does_not_fit_the_mesh_is_an_obstacle_too(kit, monkeypatch):
    def refuse(self, mesh):
        raise InputError(f"stage {self.name}: 3 rows can't be shared evenly by {mesh.size} devices")

    monkeypatch.setattr(kit.Add, "check", refuse, raising=False)
    found = look(kit)
    assert "stage base: 3 rows can't be shared evenly by 8 devices" in found.obstacle
    assert {stage.state for stage in found.stages} == {None} and found.mesh["data"] == 8


def test_steps_of_epochs_are_told_once_the_data_is_there(kit):
    run = Run(stages=(replace(BASE, steps=0, epochs=2.0),))
    assert "steps" not in preview(run, kit.out).stages[1].sizes
    kit.run(run, only=(CORPUS.name,))
    data, base = preview(run, kit.out).stages
    [folder] = (kit.out / "artifacts").glob("corpus-*")
    rows = len(read_records(read_artifact(folder).records_folder))
    assert (data.state, base.sizes["epochs"], base.sizes["steps"]) == ("finished", 2.0, -(-2 * rows // BASE.batch))


def test_a_preview_refuses_what_a_run_would_of_a_damaged_stage(kit):
    (kit.run(kit.chain()).artifacts["zero"].path / "sum").write_text("")
    with pytest.raises(InputError, match=r"damaged results: \S*/zero-\w+/sum has 0 bytes, 1 were written"):
        look(kit)
