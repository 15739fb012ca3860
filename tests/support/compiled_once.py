"""What programs for absent devices compile to, kept between tests' runs by the text of the program.

JAX's own cache can't read such programs back, and one takes a minute to compile.
"""

import gzip
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from reasoning.core.files import write_atomic
from reasoning.pipeline.environment import installed_version
from reasoning.planning.programs import no_compilation_cache

_MEMORY = ("argument_size_in_bytes", "output_size_in_bytes", "alias_size_in_bytes", "temp_size_in_bytes")


@dataclass(frozen=True)
class Memory:
    """Of ``memory_analysis()``, bytes of one device."""

    argument_size_in_bytes: int
    output_size_in_bytes: int
    alias_size_in_bytes: int
    temp_size_in_bytes: int


@dataclass(frozen=True)
class Kept:
    """A compiled program's text, and what it takes of a device."""

    text: str
    memory: Memory


def compiled_once(lowered: jax.stages.Lowered, mesh: Mesh) -> Kept:
    """What it compiles to for ``mesh``, from the folder of JAX's cache where an equal one was compiled before."""
    versions = [installed_version(name) for name in ("jax", "jaxlib", "libtpu")]
    devices = [(device.device_kind, device.id) for device in mesh.devices.flat]
    flags = [os.environ.get(name, "") for name in ("LIBTPU_INIT_ARGS",)]
    around = json.dumps([versions, devices, list(mesh.shape.items()), flags])
    key = hashlib.sha256(f"{around}\n{lowered.as_text()}".encode()).hexdigest()
    file = Path(jax.config.values["jax_compilation_cache_dir"]) / "absent" / f"{key}.json.gz"
    if not file.exists():
        with no_compilation_cache():
            compiled = lowered.compile()
        memory: Any = compiled.memory_analysis()
        found = {"text": compiled.as_text(), "memory": {name: getattr(memory, name) for name in _MEMORY}}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, gzip.compress(json.dumps(found).encode(), 6, mtime=0))
    kept = json.loads(gzip.decompress(file.read_bytes()))
    return Kept(kept["text"], Memory(**kept["memory"]))
