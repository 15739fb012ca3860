"""The notebooks run from their first cell to their last on a finished run, and notebooks' own functions are stages'."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import forked
import jax
import nbformat
import pytest
from miniature import EXPERIMENT, ROOT, copy_cache, learning_stages
from nbclient import NotebookClient
from sweep_rows import BASELINE, BETTER, numbers_of, row

from reasoning.findings.sweep_words import csv_text
from reasoning.use.run_folder import open_run

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TOUR, OWN_MODEL, ACCELERATOR, OWN_DATA, DISTILLATION, SWEEP, THINKING, ONE_STEP = NOTEBOOKS
IMPORTED = {
    TOUR: {"os", "matplotlib.pyplot"},
    OWN_MODEL: {"jax", "jax.numpy", "numpy", "flax"},
    ACCELERATOR: {"os", "jax", "numpy"},
    OWN_DATA: {"os", "json", "dataclasses", "itertools", "matplotlib.pyplot"},
    DISTILLATION: {"os", "matplotlib.pyplot"},
    SWEEP: {"os", "matplotlib.pyplot"},
    THINKING: {"os", "matplotlib.pyplot", "numpy"},
    ONE_STEP: {"os", "dataclasses", "jax", "jax.numpy", "matplotlib.pyplot", "numpy", "optax"},
}
PLOTS = {TOUR: 1, OWN_DATA: 1, DISTILLATION: 3, SWEEP: 1, THINKING: 2, ONE_STEP: 1}

LAYER = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"]),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "PYTHONPATH": str(ROOT),
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_in_git_has_no_outputs_and_imports_nothing_else_of_ours(path: Path):
    notebook = nbformat.read(path, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells and all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    text = "\n".join(cell.source for cell in cells)
    imported = re.findall(r"^\s*(?:import|from)\s+(\w[\w.]*)", text, re.MULTILINE)
    assert set(imported) <= IMPORTED[path] | {"reasoning"} and "import reasoning as r" in text
    assert len([cell for cell in notebook.cells if cell.cell_type == "markdown"]) > 5


@dataclass(frozen=True)
class Executed:
    """What all notebooks have left, one after another in one kernel whose names are forgotten between them."""

    cells: Mapping[Path, list[nbformat.NotebookNode]]
    clocks: Mapping[Path, tuple[nbformat.NotebookNode, nbformat.NotebookNode]]
    run: Path
    own: Path

    def printed(self, path: Path) -> str:
        """All that a notebook printed."""
        return "".join(each.text for each in self.outputs(path) if each.get("name") == "stdout")

    def seconds(self, path: Path) -> float:
        """The processor time that a notebook took, which says the same on a machine that others use too."""
        begun, ended = (float(cell.outputs[0].text) for cell in self.clocks[path])
        return ended - begun

    def outputs(self, path: Path) -> list[nbformat.NotebookNode]:
        """Everything that a notebook's cells left."""
        return [output for cell in self.cells[path] for output in cell.get("outputs", ())]


@pytest.fixture(scope="module")
def executed(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """Kernels take longer to start, and programs to be compiled anew, than most of the cells to run."""
    folder = tmp_path_factory.mktemp("notebooks")
    out, swept, empty = folder / "out", folder / "sweep", folder / "empty"
    shutil.copytree(reference, out)
    swept.mkdir()
    empty.mkdir()
    (swept / "table.csv").write_text(csv_text(numbers_of(row("baseline", BASELINE), row("a=1", BETTER, BASELINE))))
    settings = {
        "EXPERIMENT": EXPERIMENT, "STEPS": 2, "SWEEP": swept, "OUT": folder / "own", "OVERRIDES": "run.stages=(base,)",
        "RUN": out, "JAX_NUM_CPU_DEVICES": 2,
        # As the run, so that what it compiled is found.
        "XLA_FLAGS": "", "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
        "JAX_COMPILATION_CACHE_DIR": copy_cache(folder / "cache"),
    }  # fmt: skip
    every, cells, clocks = nbformat.v4.new_notebook(), {}, {}
    clock = "import time; print(time.process_time())"
    for path in (ACCELERATOR, *(path for path in NOTEBOOKS if path != ACCELERATOR)):
        cells[path] = nbformat.read(path, 4).cells
        # That for accelerators sets up devices, and away from the checkout it finds no pretrained model to go on to.
        where = empty if path == ACCELERATOR else path.parent
        begin, end = (nbformat.v4.new_code_cell(f"{each}\n{clock}") for each in (f"%cd -q {where}", "%reset -f"))
        clocks[path] = (begin, end)
        every.cells += [begin, *cells[path], end]
    failing = nbformat.read(TOUR, 4).cells[1]
    failing.metadata["tags"] = ["raises-exception"]
    cells[empty] = [failing]
    every.cells += [nbformat.v4.new_code_cell(f"%env RUN={empty}"), failing]
    for place, cell in enumerate(every.cells):
        cell.id = f"{place}-{cell.id}"[:64]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (LAYER | settings).items():
            patch.setenv(name, str(value))
        where = {"metadata": {"path": str(ROOT / "notebooks")}}
        NotebookClient(every, timeout=600, kernel_name="python3", resources=where).execute()
    return Executed(cells, clocks, out, empty)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path != OWN_MODEL], ids=lambda path: path.stem)
def test_a_notebook_runs_on_a_finished_run_without_an_error_or_a_warning(path: Path, executed: Executed):
    assert [each.text for each in executed.outputs(path) if each.get("name") == "stderr"] == []
    drawn = sum("image/png" in each.get("data", {}) for each in executed.outputs(path))
    assert drawn == PLOTS.get(path, 0)


@pytest.mark.slow
def test_each_notebook_takes_forty_seconds_of_a_processor_at_most(executed: Executed):
    taken = {path.stem: executed.seconds(path) for path in NOTEBOOKS}
    assert max(taken.values()) <= 40, taken


@pytest.mark.slow
def test_the_tour_shows_what_the_run_has(executed: Executed):
    printed, asked = executed.printed(TOUR), open_run(executed.run)["exam"].samples()[0]
    assert f"{asked['question']}   right answer: {asked['answer']}" in printed
    assert all(f"{stage} " in printed for stage in learning_stages())


@pytest.mark.slow
def test_a_users_own_model_learns_in_forty_lines_by_fine_tuning_and_by_reward(executed: Executed):
    cells = [cell for cell in executed.cells[OWN_MODEL] if cell.cell_type == "code"]
    assert len([line for cell in cells for line in cell.source.split("\n") if line.strip()]) <= 40
    [complaint] = [each.text for each in executed.outputs(OWN_MODEL) if each.get("name") == "stderr"]
    assert "this model brings no cache" in complaint
    loss, right = re.findall(r"(\d\.\d+) -> (\d\.\d+)", executed.printed(OWN_MODEL))
    assert float(loss[1]) < float(loss[0]) - 1 and float(right[1]) > float(right[0]) + 0.1


@pytest.mark.slow
def test_the_notebook_for_accelerators_runs_on_a_cpu(executed: Executed):
    printed = executed.printed(ACCELERATOR)
    assert " cpu " in printed and "largest difference:" in printed and "base: finished" in printed
    assert set(open_run(executed.own.parent / "own")) == {"corpus", "base"}


@pytest.mark.slow
def test_the_notebooks_on_single_subjects_find_what_is_there(executed: Executed, reference: Path):
    own = executed.printed(OWN_DATA)
    assert "base: already finished" in own and "mine: finished" in own
    assert set(open_run(executed.run)) == {*open_run(reference), "mine"}
    assert "a=1" in executed.printed(SWEEP) and "higher" in executed.printed(SWEEP)
    assert executed.printed(DISTILLATION).count("teacher") == 3
    apart = re.search(r"largest change (\S+), by hand and by the real step (\S+) apart", executed.printed(ONE_STEP))
    assert apart is not None and float(apart[2]) < 2e-3 * float(apart[1])


@pytest.mark.slow
def test_a_notebook_on_a_folder_without_a_run_fails(executed: Executed):
    [error] = [each for each in executed.outputs(executed.own) if each.output_type == "error"]
    assert "is not a run's folder" in error.evalue


SCRIPT = """
from dataclasses import replace
import sys
import reasoning as r

def brief(completions, **columns):
    return [WEIGHT / (1 + len(text)) for text in completions]

file = r.read(sys.argv[1])
lenient = r.find("rewards.accuracy.lenient")
mine = replace(file.part("zero"), name="brief", rewards=(lenient, brief), reward_weights=(1.0, 1.0), steps=2)
for WEIGHT in map(float, sys.argv[3:]):
    run = r.run(replace(file.part("run"), stages=(mine,)), out=sys.argv[2])
    print("hash", run["brief"].hash, run["brief"].metrics()[-1]["rewards/brief/mean"])
"""


@pytest.mark.slow
def test_a_function_of_a_session_is_a_reward_and_another_value_that_it_reads_is_another_stage(
    reference: Path, tmp_path: Path
):
    shutil.copytree(reference, tmp_path / "out")
    (tmp_path / "session.py").write_text(SCRIPT)

    def run(*weights: str) -> list[str]:
        words = ["session", str(EXPERIMENT), str(tmp_path / "out"), *weights]
        done = forked.run(words, {**os.environ, **LAYER}, 900, tmp_path)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith(("hash", "base:", "brief:"))]

    begun, again = run("1.0"), run("1.0", "2.0")
    assert begun[0] == "base: already finished" and begun[1] == "brief: starts" and len(begun) == 4
    same, other = again[1:3], again[4:]
    assert same == ["brief: already finished", begun[-1]]
    assert other[0] == "brief: starts" and other[-1].startswith("hash") and other[-1] != begun[-1]
