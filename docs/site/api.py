"""The page on Python: what ``import reasoning as r`` offers, and the records that its functions give."""

import importlib

FUNCTIONS = ("read", "run", "sweep", "open", "load", "summary", "find")
RECORDS = (
    "reasoning.use.run_folder.RunFolder",
    "reasoning.use.stage_results.StageResults",
    "reasoning.use.loaded_model.LoadedModel",
    "reasoning.report.sweep.SweepResult",
    "reasoning.experiment.reader.Experiment",
)


def page() -> str:
    """The page's Markdown: directives that Sphinx fills from docstrings."""
    blocks = [f".. autofunction:: reasoning.{name}" for name in FUNCTIONS]
    blocks += [f".. autoclass:: {name}\n   :members:\n   :exclude-members: __init__" for name in RECORDS]
    body = "\n\n".join([".. automodule:: reasoning\n   :no-members:", *blocks])
    return f"# Python\n\n```{{eval-rst}}\n{body}\n```\n"


def missing() -> list[str]:
    """What the page names and isn't there."""
    names = [f"reasoning.{name}" for name in FUNCTIONS] + list(RECORDS)
    split = [name.rpartition(".") for name in names]
    return [f"{module}.{name}" for module, _, name in split if not hasattr(importlib.import_module(module), name)]
