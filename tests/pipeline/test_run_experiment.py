import jax
import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.run import RunOptions
from reasoning.pipeline.run_experiment import run_experiment, run_of

FILE = """
run = @pipeline.Run
run.stages = ()
"""


def test_a_run_built_in_python_needs_no_file(kit):
    story = type(kit.run(kit.chain()))()
    found = run_experiment(kit.chain(cpu_devices=jax.device_count()), kit.out, story.watcher(), RunOptions())
    assert [artifact.results["sum"] for artifact in found.values()] == [1, 2, 4]
    assert not (kit.out / "resolved.gin").exists()


def test_another_number_of_cpu_devices_than_jax_started_with_is_refused(kit):
    story = type(kit.run(kit.chain()))()
    with pytest.raises(InputError, match=r"run\.cpu_devices = 3"):
        run_experiment(kit.chain(cpu_devices=3), kit.out, story.watcher(), RunOptions())


def test_the_part_called_run_must_be_a_run(tmp_path):
    file = tmp_path / "a.gin"
    file.write_text(FILE)
    assert run_of(read_experiment(file)).stages == ()
    assert read_experiment(file).user_sources == {}
    file.write_text("run = @core.mesh.MeshShape\n")
    with pytest.raises(InputError, match=r"a\.gin:1: 'run' must be a @pipeline\.Run"):
        run_of(read_experiment(file))
    file.write_text("ran = @core.mesh.MeshShape\n")
    with pytest.raises(InputError, match="no part 'run'.*did you mean 'ran'"):
        run_of(read_experiment(file))
