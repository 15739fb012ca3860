"""Compiled programs are read line by line, whatever types, layouts and broken lines there are."""

import jax
import jax.numpy as jnp

from reasoning.planning.hlo import HloArray, arrays_in, read_module

TEXT = """HloModule jit_f, is_scheduled=true

%body (arg: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %arg = (s32[]{:T(128)}, bf16[4,8]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %kernel.1 = (f32[2,3]{1,0}, f32[4]{0}) custom-call(%arg), custom_call_target="k", attributes={metadata={
"a": 1
}}, backend_config={"cost_estimate":{"flops":"12"}}
  ROOT %tuple = (s32[], bf16[4,8]{1,0}) tuple(%arg, %kernel.1), metadata={op_name="jit(f)/while/body/x"}
}

ENTRY %main.3 (p: bf16[4,8]) -> bf16[4,8] {
  ROOT %p = bf16[4,8]{1,0} parameter(0), metadata={op_name="p"}
}
"""


def test_computations_roots_operands_and_attributes():
    module = read_module(TEXT)
    assert module.entry == "main.3" and set(module.computations) == {"body", "main.3"}
    body = module.computations["body"]
    assert body.root.opcode == "tuple" and body.root.operands == ("arg", "kernel.1")
    assert body.root.scope == "jit(f)/while/body/x"
    assert body.parameter(0) is body.instructions["arg"]
    assert [user.name for user in body.users["arg"]] == ["kernel.1", "tuple"]


def test_a_computation_of_another_core_is_one_too():
    thread = '}, execution_thread="sparsecore"\n\nENTRY'
    module = read_module(TEXT.replace("}\n\nENTRY", thread))
    assert set(module.computations) == {"body", "main.3"}
    assert module.computations["body"].instructions == read_module(TEXT).computations["body"].instructions


def test_an_operand_may_be_an_element_of_a_tuple():
    kinds = "((f32[2]{0}, s32[]{:T(128)}), bf16[4,8]{1,0:T(8,128)(2,1)})"
    line = f'  %pair = {kinds} custom-call(%p), custom_call_target="k"\n'
    used = "  ROOT %used = bf16[4,8]{1,0} add(%pair#1, %pair#0)\n"
    text = TEXT.replace("  ROOT %p = ", "  %p = ").replace('op_name="p"}\n', f'op_name="p"}}\n{line}{used}')
    main = read_module(text).computations["main.3"]
    assert main.root.operands == ("pair#1", "pair#0") and main.maker("pair#1") is main.instructions["pair"]
    assert main.arrays("pair#1") == (HloArray("bf16", (4, 8)),)
    assert main.arrays("pair#0") == (HloArray("f32", (2,)), HloArray("s32", ()))
    assert len(main.arrays("pair")) == 3 and main.users["pair"] == (main.root, main.root)


def test_what_stands_on_several_lines_is_one_instruction():
    kernel = read_module(TEXT).computations["body"].instructions["kernel.1"]
    assert kernel.result == (HloArray("f32", (2, 3)), HloArray("f32", (4,)))
    assert '"flops":"12"' in kernel.attributes


def test_arrays_have_their_bytes_and_their_memory():
    arrays = list(arrays_in("(bf16[4,8]{1,0:T(8,128)(2,1)S(1)}, pred[7]{0}, s4[10], f8e4m3fn[3], f32[])"))
    assert [array.bytes for array in arrays] == [64, 7, 5, 3, 4]
    assert [array.space for array in arrays] == [1, 0, 0, 0, 0]


def test_a_real_program_is_read_whole():
    compiled = jax.jit(lambda x: jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, length=3)[0]).lower(1.0).compile()
    text = compiled.as_text() or ""
    module = read_module(text)
    assert sum(len(one.instructions) for one in module.computations.values()) == sum(
        " = " in line.split(", metadata", maxsplit=1)[0] for line in text.splitlines() if line.startswith("  ")
    )
    every = [one.opcode for computation in module.computations.values() for one in computation.instructions.values()]
    assert every.count("while") == 1 and module.entry in module.computations
