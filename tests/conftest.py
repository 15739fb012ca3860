"""Eight virtual CPU devices and a persistent compilation cache for every test, set before JAX starts."""

import os
from pathlib import Path

import jax

CACHE = Path(__file__).parent.parent / ".jax_cache"

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(CACHE)))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
