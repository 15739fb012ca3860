"""Products that a GPU's program leaves to libraries count by their shapes; what can't be read is named."""

import pytest

from reasoning.planning.costs import Exchange, cost_of
from reasoning.planning.hlo import read_module
from reasoning.planning.libraries import unread_calls

GEMM = (
    '(bf16[4,8,16]{2,1,0}, s8[4096]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm", backend_config='
    '{"gemm_backend_config":{"alpha_real":1,"dot_dimension_numbers":{"lhs_contracting_dimensions":["2"],'
    '"rhs_contracting_dimensions":["1"],"lhs_batch_dimensions":["0"],"rhs_batch_dimensions":["0"]}}}'
)


def program(call: str) -> str:
    """One call beside a product within a Triton fusion, whose rows all devices then gather."""
    return f"""HloModule m, num_partitions=8

%gemm_fusion_dot_computation (p.0: bf16[8,32], p.1: bf16[32,16]) -> f32[8,16] {{
  %p.0 = bf16[8,32]{{1,0}} parameter(0)
  %p.1 = bf16[32,16]{{1,0}} parameter(1)
  ROOT %dot.1 = f32[8,16]{{1,0}} dot(%p.0, %p.1), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}
}}

ENTRY %main (a: bf16[4,8,32], b: bf16[4,32,16], x: bf16[8,32], w: bf16[32,16]) -> f32[64,16] {{
  %a = bf16[4,8,32]{{2,1,0}} parameter(0)
  %b = bf16[4,32,16]{{2,1,0}} parameter(1)
  %x = bf16[8,32]{{1,0}} parameter(2)
  %w = bf16[32,16]{{1,0}} parameter(3)
  %call = {call}
  %fused = f32[8,16]{{1,0}} fusion(%x, %w), kind=kCustom, calls=%gemm_fusion_dot_computation, backend_config={{"a":"b"}}
  %begun = (f32[8,16]{{1,0}}, f32[64,16]{{1,0}}) all-gather-start(%fused), replica_groups=[1,8]<=[8], dimensions={{0}}
  ROOT %gathered = f32[64,16]{{1,0}} all-gather-done(%begun)
}}
"""


def test_products_of_libraries_and_of_fusions_count_without_the_memory_that_libraries_work_in():
    module = read_module(program(GEMM))
    cost, fused, whole = cost_of(module, {}), 2 * 8 * 16 * 32, 4 * 8 * 16
    assert cost.flops == 4 * fused + fused
    traffic = 2 * (4 * 8 * 32 + 4 * 32 * 16 + whole) + 2 * (8 * 32 + 32 * 16) + 4 * 8 * 16
    assert cost.hbm == traffic + 2 * 4 * 8 * 16
    assert cost.sent == {Exchange("all-gather", tuple(range(8))): 7 * 4 * 8 * 16}
    assert unread_calls(module) == ()


@pytest.mark.parametrize("name", ["__cudnn$convForward", "__cublas$lt$groupedMatmul", "__gpu$xla.gpu.triton"])
def test_calls_that_may_multiply_and_cannot_be_read_are_named(name):
    call = f'bf16[4,8,16]{{2,1,0}} custom-call(%a, %b), custom_call_target="{name}"'
    module = read_module(program(call))
    assert unread_calls(module) == (name,)
    assert cost_of(module, {}).flops == 2 * 8 * 16 * 32  # the fusion's


def test_calls_that_only_sort_are_not_named():
    assert unread_calls(read_module(program('s32[8]{0} custom-call(%a), custom_call_target="__cub$DeviceSort"'))) == ()
