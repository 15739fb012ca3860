"""Processes that multiprocessing starts, and what they owe to the one that asked for them."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """From now on this process, which multiprocessing started, ends as soon as the one that asked for it does."""
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
