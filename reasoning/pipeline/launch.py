"""From an experiment, or a run built in Python, to finished artifacts: devices, configuration's text, execution."""

from pathlib import Path

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.experiment.reader import Experiment
from reasoning.pipeline.devices import keep_freed_memory, use_cpu_devices
from reasoning.pipeline.execute import execute
from reasoning.pipeline.identity import Origin
from reasoning.pipeline.run import Choice, Run, Watcher


def run_of(experiment: Experiment) -> Run:
    """The part of an experiment that says what to run. Raises InputError where it isn't a ``@pipeline.Run``."""
    run = experiment.part("run")
    if not isinstance(run, Run):
        raise InputError(f"{experiment.source('run')}: 'run' must be a @pipeline.Run, not a {type(run).__name__}")
    return run


def origin_of(experiment: Experiment) -> Origin:
    """How an experiment's settings are described and which of the user's modules they come from."""
    return Origin(experiment.describe, experiment.user_sources)


def launch(
    experiment: Experiment | Run, out: Path, watcher: Watcher, choice: Choice, processes: int = 1
) -> dict[str, Artifact]:
    """Runs an experiment in the folder ``out``; the finished artifacts by stage, parents first.

    ``processes`` is how many processes share the run's CPU devices. Raises what ``execute`` raises.
    """
    if isinstance(experiment, Run):
        run, origin, text = experiment, Origin(), ""
    else:
        run, origin, text = run_of(experiment), origin_of(experiment), experiment.resolved(("run",))
    keep_freed_memory()
    use_cpu_devices(run.cpu_devices, processes)
    return execute(run, out, watcher, choice, origin, text)
