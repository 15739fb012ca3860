"""Which programs JAX compiles while a piece of a test runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The names of the jitted functions that are compiled (or read from the persistent cache), as they come."""
    names: list[str] = []

    def listen(event: str, seconds: float, **details: Any) -> None:
        if event == COMPILED:
            names.append(str(details["fun_name"]).removeprefix("jit(").removesuffix(")"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
