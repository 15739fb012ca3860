"""What an experiment file calls ``@pipeline.Run``, and how it is to be run: which stages, and who watches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from reasoning.core.mesh import MeshShape
from reasoning.core.prng import SEEDS
from reasoning.core.progress import Progress
from reasoning.core.ranges import Count, Few, Index, NonNegative, Range
from reasoning.kernels.backends import Choice as Kernels
from reasoning.stages.stage import Stage
from reasoning.training.diagnosis import Limits
from reasoning.training.sinks import SinkName


@dataclass(frozen=True)
class Run:
    """Stages in any order (parents that aren't listed are pulled in), with one seed, one mesh, one checkpoint plan.

    ``cpu_devices`` is how many XLA devices a run on the CPU has, over all processes: one a core is fastest. The file
    fixes it because results depend on it to the last bit; accelerators ignore it. ``kernels`` compute log-probabilities
    and divergences: by default those for the mesh's devices (``kernels.backends``). A stage saves every
    ``checkpoint_every`` steps and keeps the ``keep`` newest, and for good those at multiples of ``keep_every`` (0:
    none). ``log_to`` names where metrics go beside ``metrics.jsonl``. A process that makes no progress for
    ``hang_minutes`` tells where its threads stand and ends (``pipeline.hang_watch``; 0: it waits). The longest single
    wait is that for a program to compile, or for one method of an exam. A stage that trains warns where ``limits`` are
    passed (``training.diagnosis``). None of these settings ever changes a result,
    so they are not part of any hash.
    """

    stages: tuple[Stage, ...]
    seed: Annotated[int, Range(minimum=0, maximum=SEEDS - 1)] = 0
    mesh: MeshShape = MeshShape()
    cpu_devices: Few = 1
    kernels: Kernels = "auto"
    checkpoint_every: Count = 100
    keep: Count = 2
    keep_every: Index = 0
    hang_minutes: NonNegative = 0.0
    limits: Limits = Limits()
    log_to: tuple[SinkName, ...] = ()


@dataclass(frozen=True)
class RunOptions:
    """Which stages to run, and how strictly.

    ``only``: these and nothing else (empty: all). ``again``: this stage and everything made from it is done anew, what
    they had left moves to ``artifacts/earlier``. ``strict_code``: refuse, not only warn, where results of other code,
    libraries or devices would be used or continued. ``store``: an address that stages are copied to, and fetched from
    where it has them further (``pipeline.mirror``; empty: none). ``profile``: the steps that are traced, as 10:13
    (empty: none). ``jobs``: stages that don't need each other are done in so many processes at the same time, on CPUs
    only; no result depends on it.
    """

    only: tuple[str, ...] = ()
    again: str = ""
    strict_code: bool = False
    store: str = ""
    profile: str = ""
    jobs: Few = 1


@dataclass(frozen=True)
class Watcher:
    """Whoever watches a run: ``report`` gets live progress, ``note`` a line of news, ``warn`` a line of warning."""

    report: Callable[[Progress], None]
    note: Callable[[str], None]
    warn: Callable[[str], None]
