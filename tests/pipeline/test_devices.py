import os
import platform

import forked
import jax
import pytest

from reasoning.pipeline.devices import use_compile_cache

SCRIPT = """
import jax
from reasoning.core.errors import InputError
from reasoning.pipeline.devices import use_compile_cache, use_cpu_devices

def attempt(total, processes=1):
    try:
        use_cpu_devices(total, processes)
    except InputError as error:
        print(error)
    else:
        print(len(jax.devices()))

"""


def printed(script, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    process = forked.run(["-c", SCRIPT + script], {**environment, "JAX_PLATFORMS": "cpu", **variables}, 100)
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def test_the_file_decides_how_many_cpu_devices_there_are_and_every_process_gets_its_share():
    uneven, shared, again, late = printed("attempt(3, 2); attempt(4, 2); attempt(2); attempt(4)")
    assert uneven.startswith("run.cpu_devices = 3 can't be shared by 2 processes")
    assert (shared, again) == ("2", "2")
    assert late.startswith("JAX runs with 2 CPU devices a process, but run.cpu_devices = 4")


def test_another_number_in_the_environment_is_refused_and_programs_are_cached(tmp_path):
    script = "use_compile_cache(print); attempt(2); print(jax.config.values['jax_compilation_cache_dir'])"
    refused, cache = printed(script, JAX_NUM_CPU_DEVICES="4", XDG_CACHE_HOME=str(tmp_path))
    assert refused.startswith("JAX runs with 4 CPU devices a process, but run.cpu_devices = 2")
    assert cache.startswith(str(tmp_path / "reasoning" / "compiled-"))


def test_the_compile_cache_that_jax_was_given_stays(monkeypatch):
    for folder in ("", "/elsewhere"):
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", folder)
        before = jax.config.values["jax_compilation_cache_dir"]
        assert use_compile_cache(pytest.fail) is None
        assert jax.config.values["jax_compilation_cache_dir"] == before


def test_a_large_block_that_was_freed_comes_back_without_page_faults():
    """Runs in a process of its own, since the allocator's options stay."""
    program = """
import resource, sys
from reasoning.pipeline.devices import keep_freed_memory
done = sys.argv[1] == "keep" and keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    block[::4096] = b"x" * (64 << 8)
    del block
print(int(done), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

    def faults(choice: str) -> tuple[int, int]:
        done, count = forked.run(["-c", program, choice], os.environ, 100).stdout.split()
        return int(done), int(count)

    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the C library isn't glibc")
    assert faults("leave")[1] > 10_000
    done, count = faults("keep")
    assert done == 1 and count < 1_000


def test_without_a_home_that_can_be_written_to_nothing_is_cached_and_that_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told = []
    assert use_compile_cache(told.append) is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # As where there is no entry in passwd either.
    assert use_compile_cache(told.append) is None
    assert len(told) == 2 and all("JAX_COMPILATION_CACHE_DIR=FOLDER" in note for note in told)
    assert jax.config.values["jax_compilation_cache_dir"] == before


def test_64_bits_are_refused_before_anything_runs():
    [told] = printed("attempt(2)", JAX_ENABLE_X64="1")
    assert told.endswith("unset JAX_ENABLE_X64")
