"""From an experiment, or a run built in Python, to finished artifacts: devices, configuration's text, execution."""

from pathlib import Path

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.experiment.reader import Experiment
from reasoning.pipeline.devices import keep_freed_memory, use_cpu_devices
from reasoning.pipeline.run import Run, RunOptions, Watcher
from reasoning.pipeline.run_stages import run_stages


def run_of(experiment: Experiment) -> Run:
    """The part of an experiment that says what to run. Raises InputError where it isn't a ``@pipeline.Run``."""
    run = experiment.part("run")
    if not isinstance(run, Run):
        raise InputError(f"{experiment.source('run')}: 'run' must be a @pipeline.Run, not a {type(run).__name__}")
    return run


def run_experiment(
    experiment: Experiment | Run, out: Path, watcher: Watcher, options: RunOptions, processes: int = 1
) -> dict[str, Artifact]:
    """Runs an experiment in the folder ``out``; the finished artifacts by stage, parents first.

    ``processes`` is how many processes share the run's CPU devices. Raises what ``run_stages`` raises.
    """
    run = experiment if isinstance(experiment, Run) else run_of(experiment)
    file, text = (None, "") if isinstance(experiment, Run) else (experiment, experiment.resolved(("run",)))
    keep_freed_memory()
    use_cpu_devices(run.cpu_devices, processes)
    return run_stages(run, out, watcher, options, file, text)
