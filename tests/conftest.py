"""Eight virtual CPU devices, a persistent compilation cache and checked array types for every test."""

import os
from pathlib import Path

import jax
import jaxtyping

# Array annotations are checked, shapes included, wherever a test calls one of these packages; kernels check their own.
jaxtyping.install_import_hook(["reasoning.objectives", "reasoning.models"], "beartype.beartype")

CACHE = Path(__file__).parent.parent / ".jax_cache"

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(CACHE)))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
