"""Runs an answer as the main program, as ``python answer.py`` would."""

import sys


def run(source: str) -> None:
    """Executes an answer in ``__main__``; what it raises ends the process, as it would anyway."""
    main = sys.modules["__main__"].__dict__
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    exec(compile(source, "answer.py", "exec"), main)
