"""What a GPU's program leaves to NVIDIA's libraries: products by cuBLAS can be read, other calls are named."""

import re
from math import prod

from reasoning.planning.hlo import Computation, Instruction, Module

_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_CONTRACTED = re.compile(r'"lhs_contracting_dimensions":\[([^\]]*)\]')
_PRODUCTS = ("__cublas$gemm", "__cublas$lt$matmul")
_MAY_MULTIPLY = ("__cublas", "__cudnn", "cublas", "cusolver", "__gpu$xla.gpu.triton", "mosaic_gpu", "triton")
"""How names of calls begin that may hold products."""


def is_product(call: Instruction) -> bool:
    """Whether a custom call is a product of its first two operands by cuBLAS, in whatever format."""
    return _target(call).startswith(_PRODUCTS)


def _target(call: Instruction) -> str:
    """What a custom call calls; empty for other instructions."""
    found = _TARGET.search(call.attributes) if call.opcode == "custom-call" else None
    return found[1] if found else ""


def library_flops(around: Computation, call: Instruction) -> float:
    """Floating-point operations of a product by cuBLAS; 0 of anything else."""
    contracted = _CONTRACTED.search(call.attributes)
    if not is_product(call) or contracted is None:
        return 0.0
    left = around.arrays(call.operands[0])[0].shape
    places = [int(each.strip('" ')) for each in contracted[1].split(",") if each]
    return 2.0 * prod(call.result[0].shape) * prod(left[place] for place in places)


def unread_calls(module: Module) -> tuple[str, ...]:
    """The libraries and kernels, by what is called, that may multiply and say in no way that is known here how much."""
    calls = [one for each in module.computations.values() for one in each.instructions.values()]
    named = {_target(one) for one in calls if _target(one).startswith(_MAY_MULTIPLY) and not _read(one)}
    return tuple(sorted(named))


def _read(call: Instruction) -> bool:
    return (is_product(call) and _CONTRACTED.search(call.attributes) is not None) or '"flops"' in call.attributes
