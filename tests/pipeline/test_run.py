import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.reader import read_experiment

FILE = """
base = @pipeline.Run
base.stages = ()
run = @pipeline.Run
run.stages = ()
"""


@pytest.mark.parametrize("override", ["run.seed=-1", "run.seed=4294967296", "run.cpu_devices=0", "run.stages=(base,)"])
def test_values_out_of_range_and_things_that_are_no_stages_are_refused(tmp_path, override):
    file = tmp_path / "run.gin"
    file.write_text(FILE)
    with pytest.raises(InputError, match=override.split("=")[0].split(".")[1]):
        read_experiment(file, [override])


def test_an_experiment_file_can_name_the_run(tmp_path):
    file = tmp_path / "run.gin"
    file.write_text(FILE)
    assert read_experiment(file, ["run.seed=3"]).part("run").seed == 3
