"""Runs stages in the order of their graph, each once, skipping and resuming; sweeps too; never a training loop."""

from reasoning.pipeline.run import Run
from reasoning.pipeline.sweeps.sweep import Sweep

__all__ = ["Run", "Sweep"]
