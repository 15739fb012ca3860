"""Eight virtual CPU devices, a persistent compilation cache and checked array types for every test."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxtyping
import pytest
from hypothesis import HealthCheck, settings
from quick_compile import QUICK

# Array annotations are checked, shapes included, wherever a test calls one of these packages; kernels check their own.
jaxtyping.install_import_hook(["reasoning.objectives", "reasoning.models"], "beartype.beartype")

# Here and in processes that inherit this. The miniature's don't: they compile as everybody's runs do.
os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')}"

CACHE = Path(__file__).parent.parent / ".jax_cache"

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(CACHE)))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# Tracing and parsing make objects by the million that stay; at Python's own thresholds looking for garbage among them
# takes as long as the work.
gc.set_threshold(100_000, 20, 20)

# A busy machine is slow, and fails no test by it.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

MAPS = Path("/proc/self/maps")
MANY_MAPS = 20_000
"""Linux gives a process 65,530 mappings of memory; every compiled program takes some, and XLA crashes without."""


@pytest.fixture(scope="module", autouse=True)
def _forget_programs() -> Iterator[None]:
    """Frees compiled programs after a module, where a worker holds many: they come back from the cache on disk."""
    yield
    if MAPS.exists() and MAPS.read_text().count("\n") > MANY_MAPS:
        jax.clear_caches()
        gc.collect()


def pytest_collection_finish() -> None:
    """What is there before the first test stays to the end: nobody looks for garbage in it any more."""
    gc.freeze()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stages")


# What most stages start from, made once a worker: a prepared corpus, demonstrations, and a base model. Their module is
# imported by those who ask, after the settings above.
@pytest.fixture(scope="session")
def corpus(workshop: Path):
    import tiny_stages

    return tiny_stages.work(tiny_stages.CORPUS, workshop)


@pytest.fixture(scope="session")
def examples(workshop: Path, corpus):
    import tiny_stages

    return tiny_stages.work(tiny_stages.DEMONSTRATIONS, workshop, {"tokenizer": corpus})


@pytest.fixture(scope="session")
def base(workshop: Path, corpus):
    import tiny_stages

    return tiny_stages.work(tiny_stages.BASE, workshop, {"data": corpus})


# A run of the whole workflow, written by hand, for all tests of what runs found and of how it is shown.
@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; tests only read it."""
    from written_run import write_run

    return write_run(tmp_path_factory.mktemp("written") / "run")


@pytest.fixture(scope="session")
def facts(written: Path):
    """What its folder tells."""
    from reasoning.findings.facts import gather

    return gather(written)
