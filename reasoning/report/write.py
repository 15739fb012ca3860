"""The report of a run on disk: ``report.md`` and ``report.html`` beside its results, each replaced in one move."""

from collections.abc import Sequence
from pathlib import Path

from reasoning.core.files import write_atomic
from reasoning.findings.facts import Facts
from reasoning.report.content import compose
from reasoning.report.markdown import markdown
from reasoning.report.page import page

PAGE, TEXT = "report.html", "report.md"


def write(folder: Path, facts: Facts, checkpoints: Sequence[str] = ()) -> None:
    """Writes both files, with the replies of ``checkpoints`` side by side, or of the usual ones.

    Equal runs give equal bytes: no clock, host or path enters. Raises OSError that names the file, as a disk does.
    """
    report = compose(facts, checkpoints)
    write_atomic(folder / TEXT, markdown(report))
    write_atomic(folder / PAGE, page(report))
