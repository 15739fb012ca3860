"""The notebooks run from their first cell to their last on a finished run, and notebooks' own functions are stages'."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import nbformat
import pytest
from miniature import EXPERIMENT, ROOT, copy_cache, learning_stages
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from sweep_rows import BASELINE, BETTER, numbers_of, row

from reasoning.findings.sweep_words import csv_text
from reasoning.use.run_folder import open_run

TOUR, OWN_MODEL, ACCELERATOR, *SUBJECTS = NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OWN_DATA, DISTILLATION, SWEEP, THINKING, ONE_STEP = SUBJECTS
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
PLOTS = {OWN_DATA: 1, DISTILLATION: 3, SWEEP: 1, THINKING: 2, ONE_STEP: 1}

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


def run_notebook(
    path: Path,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    notebook: nbformat.NotebookNode | None = None,
    folder: Path | None = None,
) -> nbformat.NotebookNode:
    """Executes a notebook, by default the one at the path, on a run as Jupyter would, by default in its own folder."""
    for name, value in {**LAYER, "RUN": str(run)}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, 4) if notebook is None else notebook
    where = {"metadata": {"path": str(folder or path.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    return notebook


@pytest.mark.slow
def test_the_tour_runs_on_a_finished_run_without_an_error_or_a_warning(
    reference: Path, monkeypatch: pytest.MonkeyPatch
):
    notebook = run_notebook(TOUR, reference, monkeypatch)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    complaints = [output.text for output in outputs if output.get("name") == "stderr"]
    assert complaints == []
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    asked = open_run(reference)["exam"].samples()[0]
    assert f"{asked['question']}   right answer: {asked['answer']}" in printed
    assert all(f"{stage} " in printed for stage in learning_stages())
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1


@pytest.mark.slow
def test_a_users_own_model_learns_in_forty_lines_by_fine_tuning_and_by_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cells = [cell for cell in run_notebook(OWN_MODEL, tmp_path, monkeypatch).cells if cell.cell_type == "code"]
    lines = [line for cell in cells for line in cell.source.split("\n") if line.strip()]
    assert len(lines) <= 40
    outputs = [output for cell in cells for output in cell.outputs]
    [complaint] = [output.text for output in outputs if output.get("name") == "stderr"]
    assert "this model brings no cache" in complaint
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    loss, right = re.findall(r"(\d\.\d+) -> (\d\.\d+)", printed)
    assert float(loss[1]) < float(loss[0]) - 1 and float(right[1]) > float(right[0]) + 0.1


@pytest.mark.slow
def test_the_notebook_for_accelerators_runs_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = {"EXPERIMENT": str(EXPERIMENT), "OUT": str(tmp_path / "out"), "OVERRIDES": "run.stages=(base,)"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # Away from the checkout, in which it would go on to a pretrained model if there is one.
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = run_notebook(ACCELERATOR, tmp_path, monkeypatch, folder=folder)
    printed = "".join(
        output.text for cell in notebook.cells for output in cell.get("outputs", ()) if output.get("name") == "stdout"
    )
    assert " cpu " in printed and "largest difference:" in printed and "base: finished" in printed
    assert set(open_run(tmp_path / "out")) == {"corpus", "base"}


@pytest.mark.slow
def test_the_notebooks_on_single_subjects_run_on_a_finished_run_and_a_sweep_without_a_warning(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In one kernel, whose names are forgotten between them: five of them take longer to start than the cells do."""
    out, swept = tmp_path / "out", tmp_path / "sweep"
    shutil.copytree(reference, out)
    swept.mkdir()
    (swept / "table.csv").write_text(csv_text(numbers_of(row("baseline", BASELINE), row("a=1", BETTER, BASELINE))))
    settings = {"EXPERIMENT": EXPERIMENT, "STEPS": 2, "SWEEP": swept, "JAX_NUM_CPU_DEVICES": 2}
    as_the_run = {"XLA_FLAGS": "", "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none"}  # What it compiled is found.
    for name, value in (settings | as_the_run).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setitem(LAYER, "JAX_COMPILATION_CACHE_DIR", str(copy_cache(tmp_path / "cache")))
    every = nbformat.v4.new_notebook()
    for path in SUBJECTS:
        every.cells += [*nbformat.read(path, 4).cells, nbformat.v4.new_code_cell("%reset -f", id=f"reset-{path.stem}")]
    cells = run_notebook(ONE_STEP, out, monkeypatch, every).cells
    printed = {cell.id: "".join(each.get("text", "") for each in cell.get("outputs", ())) for cell in cells}
    complaints = [each.text for cell in cells for each in cell.get("outputs", ()) if each.get("name") == "stderr"]
    assert complaints == []
    drawn = Counter(
        cell.id.partition("-")[0]
        for cell in cells
        for each in cell.get("outputs", ())
        if "image/png" in each.get("data", {})
    )
    assert sorted(drawn.values()) == sorted(PLOTS.values())
    assert "base: already finished" in printed["own-run"] and "mine: finished" in printed["own-run"]
    assert set(open_run(out)) == {*open_run(reference), "mine"}
    assert "a=1" in printed["sweep-verdicts"] and "higher" in printed["sweep-verdicts"]
    assert printed["distil-hardest"].count("teacher") == 3
    apart = re.search(r"largest change (\S+), by hand and by the real step (\S+) apart", printed["step-real"])
    assert apart is not None and float(apart[2]) < 2e-3 * float(apart[1])


@pytest.mark.slow
def test_a_notebook_on_a_folder_without_a_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(CellExecutionError, match="is not a run's folder"):
        run_notebook(TOUR, tmp_path, monkeypatch)


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
        command = [sys.executable, str(tmp_path / "session.py"), str(EXPERIMENT), str(tmp_path / "out"), *weights]
        done = subprocess.run(command, env={**os.environ, **LAYER}, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith(("hash", "base:", "brief:"))]

    begun = run("1.0")
    assert begun[0] == "base: already finished" and begun[1] == "brief: starts" and len(begun) == 4
    same, other = run("1.0", "2.0")[1:3], run("2.0")[1:]
    assert same == ["brief: already finished", begun[-1]]
    assert other[0] == "brief: already finished" and other[-1] != begun[-1]
