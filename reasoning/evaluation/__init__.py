"""What a checkpoint is asked, by which methods, and what came of it; never how one is trained."""

from reasoning.evaluation.exam import Exam

__all__ = ["Exam"]
