"""Flags with which XLA compiles fast for the CPU, for tests that compile much and compute little."""

import jaxlib.version

QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""LLVM's optimizations would double the time. Without fusion emitters XLA compiles five times as fast, and what it
compiles is 5 to 15 % slower; from jaxlib 0.11 on there is no way without them."""

if jaxlib.version.__version_info__ < (0, 11):
    QUICK += " --xla_cpu_use_fusion_emitters=false"
