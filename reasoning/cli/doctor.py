"""``reasoning doctor``: what this machine has, what is missing and what for, and whether runs work here at all."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console
from rich.table import Table

from reasoning.cli.arguments import parsed
from reasoning.core.errors import InputError
from reasoning.pipeline.devices import use_compile_cache
from reasoning.pipeline.environment import installed_version
from reasoning.report.console import plain_text, put
from reasoning.sandbox.grading import Sandbox, isolation
from reasoning.sandbox.tiers import compiler

_DISTRIBUTION = "reasoning-jax"
_COLOURS = {"ok": "green", "note": "yellow", "bad": "bold red"}
_GIB = 2**30
_ENOUGH_DISK = 5 * _GIB
_ENOUGH_MEMORY = 2 * _GIB

PURPOSES = {
    "cuda12": "runs on NVIDIA GPUs with CUDA 12",
    "cuda13": "runs on NVIDIA GPUs with CUDA 13",
    "tpu": "runs on TPUs; libtpu alone compiles for TPUs ahead of time",
    "hf": "Hugging Face checkpoints and tokenizers, in and out",
    "parity": "the reference numbers of tests/models/parity, made anew; exports checked by transformers",
    "tasks": "the procedural tasks of reasoning-gym",
    "code": "HumanEval's problems",
    "retrieval": "passages found by BM25",
    "tunix": "another project's Llama 3 in a test of models that users bring",
    "tensorboard": "curves in TensorBoard (run.log_to)",
    "wandb": "metrics to Weights & Biases",
    "notebooks": "the notebooks' kernel and plots",
    "docs": "the pages of docs/ as a site (make docs)",
    "dev": "tests and lint",
}

_PLUGINS = {"cuda12": "jax-cuda12-plugin", "cuda13": "jax-cuda13-plugin", "tpu": "libtpu"}

# The smallest program for a topology that needs a collective: libtpu must load, fit this jaxlib, and compile.
_AHEAD_OF_TIME = """
import jax, numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
chips = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
whole = NamedSharding(Mesh(np.array(chips), ("data",)), P("data"))
jax.jit(lambda x: x.sum()).lower(jax.ShapeDtypeStruct((8,), "float32", sharding=whole)).compile()
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``state`` is ok, note (works without) or bad (runs can't work)."""

    name: str
    state: str
    text: str


def main(arguments: Sequence[str]) -> int:
    """Prints what this machine has and lacks, and returns 0 where runs work here, 1 where something bad was found.

    Starts JAX on the platform that a run would take, and compiles one tiny program for it.
    """
    parser = argparse.ArgumentParser(
        prog="reasoning doctor",
        description="Says what this machine has, what is missing and what for, and whether runs work here at all.",
    )
    parsed(parser.parse_args, arguments)
    findings = [*versions(), *devices(), *_storage(), *extras(), ahead_of_time(), *sandbox(Sandbox())]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(*map(plain_text, (finding.state, finding.name, finding.text), (_COLOURS[finding.state], "", "")))
    bad = [finding.name for finding in findings if finding.state == "bad"]
    console = Console(highlight=False)
    put(console, table)
    put(console, f"Runs can't work here: see {', '.join(bad)}." if bad else "Runs work here.", wrapped=True)
    return 1 if bad else 0


def _requirements(extra: str | None = None) -> list[tuple[str, str]]:
    """(distribution, lowest version or "") for what the package needs, or for what one of its extras adds."""
    needed = []
    for line in metadata.requires(_DISTRIBUTION) or ():
        marked = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        stated = re.match(r"([\w.-]+)(?:\[([\w-]+)\])?(?:\s*>=\s*([\d.]+))?", line)
        if stated and (marked and marked[1]) == extra:
            name, option, lowest = stated.groups()
            # An option of JAX stands for one plugin that it adds; the number is JAX's own.
            needed.append((_PLUGINS[option], "") if option in _PLUGINS else (name, lowest or ""))
    return needed


def older(installed: str, lowest: str) -> bool:
    """Whether a release is older than another, by the numbers in front of any suffix."""
    return _leading_numbers(installed) < _leading_numbers(lowest)


def _leading_numbers(release: str) -> list[int]:
    """The leading numbers of a version, trailing zeros dropped: 1.10.0rc1 gives [1, 10]."""
    leading = re.match(r"\d+(\.\d+)*", release)
    parts = [int(part) for part in leading[0].split(".")] if leading else []
    while parts and parts[-1] == 0:
        parts.pop()
    return parts


def versions() -> list[Finding]:
    """Python, the package, and everything that it needs, against the lowest releases that it accepts."""
    python = ".".join(map(str, sys.version_info[:3]))
    findings = [Finding("python", "ok" if sys.version_info >= (3, 11) else "bad", f"{python} at {sys.executable}")]
    own = installed_version(_DISTRIBUTION)
    if own is None:
        return [*findings, Finding(_DISTRIBUTION, "bad", "not installed; make environment, or pip install -e .")]
    for name, lowest in [(_DISTRIBUTION, ""), ("jaxlib", ""), *_requirements()]:
        installed = installed_version(name)
        if installed is None:
            findings.append(Finding(name, "bad", "missing; make environment"))
        elif lowest and older(installed, lowest):
            findings.append(Finding(name, "bad", f"{installed}, but {lowest} or newer is needed; make environment"))
        else:
            findings.append(Finding(name, "ok", installed))
    return findings


def extras() -> list[Finding]:
    """Which optional parts are here, and what the missing ones are for."""
    if installed_version(_DISTRIBUTION) is None:
        return []
    findings = []
    for extra in metadata.metadata(_DISTRIBUTION).get_all("Provides-Extra") or ():
        missing = [name for name, _ in _requirements(extra) if installed_version(name) is None]
        purpose = PURPOSES.get(extra, "")
        text = f"{purpose} (missing: {', '.join(missing)})" if missing else purpose
        findings.append(Finding(f"extra {extra}", "note" if missing else "ok", text))
    return findings


def devices() -> list[Finding]:
    """The devices that a run would take, and a sum that crosses all of them."""
    try:
        here = jax.devices()
        kinds = ", ".join(sorted({device.device_kind for device in here}))
        described = Finding("devices", "ok", f"{len(here)} × {kinds} ({here[0].platform})")
        return [described, mesh_sum(here)]
    except RuntimeError as error:
        return [Finding("devices", "bad", f"JAX can't start: {error}; JAX_PLATFORMS=cpu runs without an accelerator")]


def mesh_sum(here: Sequence[Any]) -> Finding:
    """Sum one number a device over a mesh of all of them: compiling, sharding and a collective work, or don't."""
    begun = time.monotonic()
    sharding = NamedSharding(Mesh(np.array(here), ("data",)), PartitionSpec("data"))
    numbers = jax.device_put(jnp.arange(1.0, len(here) + 1), sharding)
    total, expected = float(jax.jit(jnp.sum)(numbers)), len(here) * (len(here) + 1) / 2
    if total != expected:
        return Finding("mesh", "bad", f"the sum of 1 to {len(here)} over all devices is {total}, not {expected}")
    return Finding("mesh", "ok", f"a sum over all devices is right, {time.monotonic() - begun:.1f} s with compilation")


def _storage(folder: Path | None = None) -> list[Finding]:
    """Disk under ``folder`` (by default where runs are written, here), memory, and the cache of compiled programs."""
    free = shutil.disk_usage(folder or Path.cwd()).free
    use_compile_cache(lambda told: None)  # The finding below tells it.
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        Finding("disk", "ok" if free >= _ENOUGH_DISK else "note", f"{free / _GIB:.0f} GiB free here"),
        Finding(
            "memory",
            "ok" if memory >= _ENOUGH_MEMORY else "note",
            f"{memory / _GIB:.0f} GiB; {os.cpu_count()} processors",
        ),
        compile_cache(jax.config.values["jax_compilation_cache_dir"]),
    ]


def compile_cache(folder: str | None) -> Finding:
    """Where a run keeps compiled programs for the next one, if anywhere."""
    if not folder:
        return Finding(
            "compile cache",
            "note",
            "none: every start compiles anew; set JAX_COMPILATION_CACHE_DIR to a folder of your own",
        )
    if not Path(folder).is_dir():
        return Finding("compile cache", "ok", f"{folder}, made on first use")
    if not os.access(folder, os.W_OK):
        return Finding("compile cache", "note", f"{folder} is not writable: every start compiles anew")
    size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return Finding("compile cache", "ok", f"{folder}, {size / _GIB:.1f} GiB")


def ahead_of_time() -> Finding:
    """Whether programs can be compiled for TPUs without one; tried in a process of its own, as libtpu can abort."""
    number = installed_version("libtpu")
    if number is None:
        return Finding("compile for TPU", "note", "no libtpu; make tpu-aot installs the release that fits")
    begun = time.monotonic()
    variables = os.environ | {"JAX_PLATFORMS": "cpu", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    try:
        tried = subprocess.run([sys.executable, "-c", _AHEAD_OF_TIME], env=variables, capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        return Finding("compile for TPU", "note", f"libtpu {number} took more than 120 s for a sum")
    except OSError as error:
        return Finding("compile for TPU", "note", f"not tried: {sys.executable} can't be started: {error.strerror}")
    if tried.returncode:
        last = tried.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return Finding("compile for TPU", "note", f"libtpu {number} does not fit this jaxlib: {''.join(last)[:200]}")
    return Finding("compile for TPU", "ok", f"libtpu {number} compiled a sum in {time.monotonic() - begun:.1f} s")


def sandbox(settings: Sandbox) -> list[Finding]:
    """Which isolation programs run in that models write, proved by trying what it must forbid; and the C++ compiler."""
    try:
        tier = isolation(settings)
        found = Finding("code sandbox", "ok", f"{tier}; everything that it must forbid was tried within it, and failed")
    except InputError as error:
        found = Finding("code sandbox", "note", str(error))
    compiled = compiler()
    text = compiled or "no g++; answers in C++ can't be graded (apt-get install g++)"
    return [found, Finding("C++ compiler", "ok" if compiled else "note", text)]
