"""The storage library's errors as those of the disk that they are, and its threads' tracebacks held back."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_OS_ERROR_CODE = re.compile(r"os_error_code='(\d+)'")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn the storage library's errors into OSError, and hold back the tracebacks that its threads log.

    After a failure they stay held back: threads that are still at work fail later, with nothing new to say.
    """
    logger = logging.getLogger("absl")
    logger.addFilter(_is_news)
    try:
        yield
    except ValueError as error:
        code = _OS_ERROR_CODE.search(str(error))
        if code is None:
            raise
        _ignore_closed_loops()
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
    logger.removeFilter(_is_news)


def _ignore_closed_loops() -> None:
    """Keep threads quiet that have yet to report a failed write to an event loop which has ended."""
    usual = sys.unraisablehook

    def hook(report: Any) -> None:
        if str(report.exc_value) != "Event loop is closed":
            usual(report)

    sys.unraisablehook = hook


def _is_news(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR or "orbax" not in record.pathname
