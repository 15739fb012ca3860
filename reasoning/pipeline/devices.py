"""JAX set up for a run, before it starts: the CPU's device count and memory, and a cache of compiled programs."""

import ctypes
import hashlib
import importlib.util
import os
import platform
from collections.abc import Callable
from pathlib import Path

import jax

from reasoning.core import processor
from reasoning.core.errors import InputError
from reasoning.core.folders import user_cache

_CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_ACCELERATOR_PLUGINS = ("libtpu", "jax_cuda12_plugin", "jax_cuda13_plugin")

_MALLOC_OPTIONS = ((-4, 0), (-1, -1), (-8, 1))
"""Options of glibc's allocator by the numbers of its ``malloc.h``: no block from mmap, never trim the heap's top, one
arena (others can't hold large blocks)."""

_COMPILE_SECONDS = 0.1
"""Programs that compile faster than this are not worth a file."""


def use_cpu_devices(total: int, processes: int = 1) -> None:
    """Gives each of the processes its share of ``total`` CPU devices; accelerators are left as they are.

    Call it before anything is computed. Raises InputError where the processes can't share them evenly, where somebody
    (a launcher, ``JAX_NUM_CPU_DEVICES``) has asked for another number, where JAX has already started with one, and
    where JAX was told to compute with 64 bits, which the code's types and its programs aren't made for.
    """
    if jax.config.values["jax_enable_x64"]:
        raise InputError("JAX is set to 64 bits, and models are trained in 32 or 16 here; unset JAX_ENABLE_X64")
    if total % processes:
        raise InputError(
            f"run.cpu_devices = {total} can't be shared by {processes} processes; set it to a multiple of {processes}"
        )
    share = total // processes
    asked = jax.config.values["jax_num_cpu_devices"]
    try:
        if asked in (-1, share):
            jax.config.update("jax_num_cpu_devices", share)
            return
    except RuntimeError:  # JAX has started; what counts is with what.
        asked = jax.local_device_count()
    if jax.default_backend() == "cpu" and jax.local_device_count() != share:
        raise InputError(
            f"JAX runs with {asked} CPU devices a process, but run.cpu_devices = {total} over {processes} process(es) "
            f"asks for {share}, and results depend on it; set run.cpu_devices = {asked * processes}, or start a new "
            "process without JAX_NUM_CPU_DEVICES or REASONING_CPU_DEVICES"
        )


def keep_freed_memory() -> bool:
    """Lets a process that computes on the CPU keep the memory that a program frees, for its next call.

    XLA allocates a program's temporary arrays anew at each call. By default glibc gives blocks of that size back to
    the kernel, which must then clear every page again: a quarter of a small train step's CPU time, up to half of a
    block's backward pass. Numbers don't change. Call it before JAX starts. Returns whether it was done: not where an
    accelerator may be used, nor where the C library isn't glibc.
    """
    platforms = jax.config.values["jax_platforms"]
    plugged = any(importlib.util.find_spec(plugin) for plugin in _ACCELERATOR_PLUGINS)
    if (platforms != "cpu" if platforms else plugged) or platform.libc_ver()[0] != "glibc":
        return False
    set_option = ctypes.CDLL(None).mallopt
    return all(set_option(option, value) == 1 for option, value in _MALLOC_OPTIONS)


def use_compile_cache(note: Callable[[str], None]) -> Path | None:
    """Keeps compiled programs for the next run, where ``JAX_COMPILATION_CACHE_DIR`` doesn't say otherwise.

    One folder a processor model, since machine code of one may not run on another. A program that a killed run left
    half written is compiled again (JAX warns). Set the variable to an empty text for no cache. Returns the folder, None
    also where the user has no home that can be written to: then nothing is kept, of which ``note`` hears.
    """
    if _CACHE_VARIABLE in os.environ:
        return None
    folder = _writable_home()
    if folder is None:
        note(f"note: no home to write to, so compiled programs aren't kept; {_CACHE_VARIABLE}=FOLDER keeps them there")
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _COMPILE_SECONDS)
    return folder


def _writable_home() -> Path | None:
    try:
        folder = user_cache() / f"compiled-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError):  # No entry in passwd; no folder, or one that others may write to alone.
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _processor() -> str:
    """A short name for the processor's model and instruction sets."""
    told = processor.described("model name", "flags", "Features") or [f"flags: {platform.processor()}"]
    return hashlib.sha256("\n".join([platform.machine(), *told]).encode()).hexdigest()[:8]
