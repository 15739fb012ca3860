"""Under which code, libraries and devices a result was made: recorded with it, and compared when work goes on."""

import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from reasoning.core.errors import InputError

_LIBRARIES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "array-record", "tensorflow-datasets",
    "sentencepiece", "numpy", "libtpu", "jax-cuda12-plugin", "jax-cuda13-plugin",
)  # fmt: skip
"""Libraries whose version can change a result; those that aren't installed are left out."""

_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
"""Environment variables that change what XLA compiles, and what libraries under it compute."""

_SETTINGS = {
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_default_matmul_precision": None,
    "jax_softmax_custom_jvp": True,
    "jax_allow_f16_reductions": False,
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_exec_time_optimization_effort": 0.0,
    "jax_optimization_level": "UNKNOWN",
    "jax_use_shardy_partitioner": True,
}
"""JAX's settings that change numbers, with the values that are not worth a word; variables or a program set them."""

_SHOWING_ONLY = ("planning", "report", "cli")
"""Subpackages that no stage imports: a change there can't change a result, and isn't told as other code."""

PACKAGE = Path(__file__).resolve().parents[1]


def current_environment() -> dict[str, Any]:
    """Everything beside settings and seed that bits can depend on, JAX's devices included, as a JSON-able record."""
    device = jax.devices()[0]
    return {
        "code": dict(code_version()),
        "libraries": dict(_library_versions()),
        "python": platform.python_version(),
        "device": {"kind": device.device_kind, "count": jax.device_count(), "processes": jax.process_count()},
        "flags": compiler_flags() | changed_settings(),
    }


def compiler_flags() -> dict[str, str]:
    """The environment's variables that change what XLA compiles, as far as they are set."""
    return {name: os.environ[name] for name in _FLAGS if os.environ.get(name)}


def changed_settings() -> dict[str, Any]:
    """JAX's settings that aren't what they are by default, whoever set them: a variable or a program."""
    values = jax.config.values
    return {name: values[name] for name, default in _SETTINGS.items() if name in values and values[name] != default}


def environment_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between two environments, each as ``jax 0.10.2 -> 0.11.0``; code counts by its source's hash."""
    old, new = _flat(before), _flat(now)
    changed = [
        f"{name} {old.get(name)} -> {new.get(name)}" for name in {**old, **new} if old.get(name) != new.get(name)
    ]
    if before.get("code", {}).get("source") != now["code"]["source"]:
        changed.insert(0, f"code {_code_name(before.get('code', {}))} -> {_code_name(now['code'])}")
    return tuple(changed)


@functools.cache
def code_version() -> Mapping[str, Any]:
    """The package's version, the hash of its source files, and where it is a git checkout: commit, and if changed."""
    version: dict[str, Any] = {"version": installed_version("reasoning-jax"), "source": source_hash(PACKAGE)}
    commit = _git("rev-parse", "HEAD")
    if commit:
        version |= {"commit": commit, "changed": bool(_git("status", "--porcelain", "--", str(PACKAGE)))}
    return version


@functools.cache
def _library_versions() -> Mapping[str, str]:
    """Versions of the installed libraries that can change a result, by distribution name."""
    versions = {name: installed_version(name) for name in _LIBRARIES}
    return {name: version for name, version in versions.items() if version is not None}


def installed_version(distribution: str) -> str | None:
    """The installed version, or None; a checkout on the path has none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check_environment(record: Any, where: str) -> None:
    """Raises InputError, beginning with ``where``, for a record that ``current_environment`` can't have made."""
    parts = ("code", "device", "flags", "libraries")
    if not isinstance(record, dict):
        raise InputError(f"{where} must be an object, not {record!r:.60}")
    for name in parts:
        if not isinstance(record.get(name, {}), dict):
            raise InputError(f"{where}.{name} must be an object, not {record[name]!r:.60}")


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    device = {f"device {name}": value for name, value in record.get("device", {}).items()}
    return {"python": record.get("python"), **record.get("libraries", {}), **device, **record.get("flags", {})}


def _code_name(code: Mapping[str, Any]) -> str:
    commit = code.get("commit")
    if not commit:
        return f"{code.get('version')} ({str(code.get('source'))[:8]})"
    return commit[:10] + (f" with changes ({str(code.get('source'))[:8]})" if code.get("changed") else "")


def source_hash(package: Path) -> str:
    """SHA-256 over the names and contents of a package's source files, those that only show results left out."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        if file.relative_to(package).parts[0] in _SHOWING_ONLY:
            continue
        digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _git(*arguments: str) -> str:
    """What git prints about the package's own checkout; empty where it has none or git is missing."""
    if not (PACKAGE.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    try:
        run = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=30)
        return run.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
