"""The graph of stages, artifacts, resume and skip, sweeps."""

from reasoning.pipeline.run import Run
from reasoning.pipeline.sweeps.sweep import Sweep

__all__ = ["Run", "Sweep"]
