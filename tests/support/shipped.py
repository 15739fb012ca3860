"""An experiment file of ours, run by the real command in a process of its own with smaller sizes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import forked
import jax
from miniature import PATIENCE, ROOT


def run_shipped(name: str, overrides: Mapping[str, Any], out: Path) -> None:
    """Runs ``experiments/<name>`` into ``out``, with this process's cache of compiled programs; it must end well."""
    words = ["reasoning", "run", str(ROOT / "experiments" / name)]
    words += [f"{setting}={value}" for setting, value in overrides.items()] + ["--out", str(out)]
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"]),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = forked.run(words, environment, PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
