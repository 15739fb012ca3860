import jax
import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.reader import read
from reasoning.pipeline.launch import launch, origin_of, run_of
from reasoning.pipeline.run import Choice

FILE = """
run = @pipeline.Run
run.stages = ()
"""


def test_a_run_built_in_python_needs_no_file(kit):
    story = type(kit.run(kit.chain()))()
    found = launch(kit.chain(cpu_devices=jax.device_count()), kit.out, story.watcher(), Choice())
    assert [artifact.results["sum"] for artifact in found.values()] == [1, 2, 4]
    assert not (kit.out / "resolved.gin").exists()


def test_another_number_of_cpu_devices_than_jax_started_with_is_refused(kit):
    story = type(kit.run(kit.chain()))()
    with pytest.raises(InputError, match=r"run\.cpu_devices = 3"):
        launch(kit.chain(cpu_devices=3), kit.out, story.watcher(), Choice())


def test_the_part_called_run_must_be_a_run(tmp_path):
    file = tmp_path / "a.gin"
    file.write_text(FILE)
    assert run_of(read(file)).stages == ()
    assert origin_of(read(file)).sources == {}
    file.write_text("run = @core.mesh.MeshShape\n")
    with pytest.raises(InputError, match=r"a\.gin:1: 'run' must be a @pipeline\.Run"):
        run_of(read(file))
    file.write_text("ran = @core.mesh.MeshShape\n")
    with pytest.raises(InputError, match="no part 'run'.*did you mean 'ran'"):
        run_of(read(file))
