"""The graph of stages, artifacts, resume and skip."""

from reasoning.pipeline.run import Run

__all__ = ["Run"]
