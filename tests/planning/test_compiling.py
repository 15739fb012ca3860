"""Equal programs are compiled once, also by the next plan; what doesn't fit is found out, and by how much."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from placed_products import left_when_placed, products

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.program import Program
from reasoning.planning.apart import apart
from reasoning.planning.built import build, write_built
from reasoning.planning.chips import CHIPS
from reasoning.planning.compiling import Compiler, across, axes_of, plans_folder
from reasoning.planning.topology import libtpu_is_installed, topology_devices

MESH = build_mesh(MeshShape(data=2, fsdp=4))
SPLIT = NamedSharding(MESH, P(("data", "fsdp")))


def square(x):
    return x @ x.T


def program(size: int) -> Program:
    shape = jax.ShapeDtypeStruct((size, size), jnp.float32, sharding=SPLIT)
    return Program(f"square {size}", jax.jit(square, out_shardings=SPLIT), (shape,))


def test_equal_programs_are_compiled_once_also_by_the_next_plan(tmp_path: Path):
    told: list[str] = []
    compiler = Compiler("cpu", tmp_path, told.append)
    first = compiler.compile(program(16), MESH)
    assert compiler.compile(program(16), MESH) is first  # another function, and the same text
    assert compiler.compile(program(32), MESH) != first
    again = Compiler("cpu", tmp_path, told.append).compile(program(16), MESH)
    assert again == first and told == ["square 16", "square 32"]
    Compiler("another", tmp_path, told.append).compile(program(16), MESH)
    assert told[-1] == "square 16" and len(told) == 3


def test_what_is_known_by_its_source_is_not_traced_again(tmp_path: Path):
    traced: list[str] = []

    def counted(size: int) -> Program:
        def square_told(x):
            traced.append("square")
            return square(x)

        return replace(program(size), function=jax.jit(square_told, out_shardings=SPLIT))

    def found(size: int, source: str):
        return Compiler("cpu", tmp_path, lambda name: None).compile(counted(size), MESH, None, source)

    first = found(16, "a file's")
    assert found(16, "a file's") == first and traced == ["square"]
    assert found(32, "a file's") != first and found(16, "another's") == first and found(16, "") == first
    assert traced == ["square"] * 4


def test_what_was_compiled_under_other_flags_is_compiled_again(tmp_path: Path, monkeypatch):
    told: list[str] = []
    for flags in ("", "--one", "--one"):
        monkeypatch.setenv("LIBTPU_INIT_ARGS", flags)
        Compiler("cpu", tmp_path, told.append).compile(program(16), MESH)
    assert told == ["square 16", "square 16"]


def test_what_was_found_without_machine_code_serves_who_wants_no_more(tmp_path: Path):
    told: list[str] = []
    whole = Compiler("cpu", tmp_path, told.append).compile(program(16), MESH)
    for file in tmp_path.iterdir():
        file.rename(file.with_suffix(f".placed{file.suffix}"))
    quick = Compiler("cpu", tmp_path, told.append)
    assert quick.compile(program(16), MESH, lambda file: "asked for nothing") == whole and len(told) == 1
    assert Compiler("cpu", tmp_path, told.append).compile(program(16), MESH).machine_code and len(told) == 2


def test_what_another_process_leaves_is_taken_and_where_it_leaves_nothing_that_is_told(tmp_path: Path):
    def elsewhere(file: Path) -> str:
        write_built(file, build(jax.jit(square, out_shardings=SPLIT).lower(*program(16).arguments), None))
        return ""

    told: list[str] = []
    found = Compiler("cpu", tmp_path, told.append).compile(program(16), MESH, elsewhere)
    assert found.flops == 2 * 2 * 16 * 16 and told == ["square 16"]
    with pytest.raises(InputError, match="compiled square 32 left nothing: killed by SIGKILL"):
        Compiler("cpu", tmp_path, told.append).compile(program(32), MESH, lambda file: "killed by SIGKILL")


def test_programs_that_differ_in_their_trips_alone_are_compiled_once(tmp_path: Path):
    told: list[str] = []
    compiler = Compiler("cpu", tmp_path, told.append)
    found = [compiler.compile(replace(program(16), trips={"decode": trips}), MESH) for trips in (2.0, 3.0)]
    assert found[0] == found[1] and told == ["square 16"]


def test_a_file_that_can_not_be_read_is_made_anew(tmp_path: Path):
    told: list[str] = []
    first = Compiler("cpu", tmp_path, told.append).compile(program(16), MESH)
    for file in tmp_path.iterdir():
        file.write_text('{"memory": 1}')
    assert Compiler("cpu", tmp_path, told.append).compile(program(16), MESH).memory == first.memory
    assert len(told) == 2


def test_exchanges_are_named_by_their_axes(tmp_path: Path):
    found = Compiler("cpu", tmp_path, lambda name: None).compile(program(16), MESH)
    [gathered] = found.exchanged
    assert (gathered.kind, gathered.axes) == ("all-gather", "data × fsdp")
    assert gathered.held == 16 * 16 * 4 and gathered.sent == gathered.held * 7 / 8
    assert found.flops == 2 * 2 * 16 * 16 and found.arguments == 2 * 16 * 4


@pytest.mark.parametrize(
    ("group", "axes"), [((0, 1, 2, 3), "fsdp"), ((1, 5), "data"), (tuple(range(8)), "data × fsdp"), ((), "all")]
)
def test_a_group_lies_along_the_axes_in_which_it_differs(group, axes):
    assert axes_of(group, MESH) == axes


def test_the_network_between_slices_carries_what_each_slice_wants_once():
    assert across("all-gather", [0, 0, 0]) == 0 and across("all-gather", [0, 1, 2]) == 1
    # Of 8 shards 4 come from the other slice, over the links of 4 devices: one each, of 7 that each device must get.
    assert across("all-gather", [0] * 4 + [1] * 4) == 1 / 7
    # A sum of s bytes: halves, 2 s / 4 x 1 / 2 by each link, of 2 s x 7 / 8.
    assert across("all-reduce", [0, 1] * 4) == pytest.approx((2 / 4 / 2) / (2 * 7 / 8))
    assert across("all-to-all", [0] * 4 + [1] * 4) == 4 / 7  # half of all, where each keeps an eighth
    assert across("collective-permute", [0, 0]) == 0 and across("collective-permute", [1, 0]) == 1


def test_findings_lie_in_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert plans_folder() == tmp_path / "reasoning" / "plans"


@pytest.mark.slow
def test_the_predicted_peak_is_where_the_compiler_begins_to_refuse(tmp_path):
    if not libtpu_is_installed():
        pytest.skip("libtpu is not installed: make tpu-aot adds it")
    mesh = build_mesh(MeshShape(), topology_devices("v5e-1"))
    place, usable = NamedSharding(mesh, P()), CHIPS["v5e"].usable
    compiler = Compiler("v5e", tmp_path, lambda name: None)

    def found(rows: int):
        shapes = [jax.ShapeDtypeStruct((size, 4096), jnp.float32, sharding=place) for size in (rows, 4096)]
        return compiler.compile(Program("products", jax.jit(lambda x, w: (x @ w) @ (w @ w)), tuple(shapes)), mesh)

    few, more = found(4096).memory, found(8192).memory
    limit = 4096 * (usable - few) / (more - few) + 4096
    fits, refused = (found(int(share * limit)) for share in (0.95, 1.05))
    assert refused.refusal and not fits.refusal
    assert fits.memory == pytest.approx(0.95 * usable, rel=0.01)


@pytest.mark.slow
def test_what_is_known_before_machine_code_is_what_the_whole_program_takes(tmp_path):
    if not libtpu_is_installed():
        pytest.skip("libtpu is not installed: make tpu-aot adds it")
    one, mesh = products()
    told: list[str] = []
    early = Compiler("v5e", tmp_path, told.append).compile(one, mesh, partial(apart, left_when_placed))
    whole = Compiler("v5e", tmp_path, told.append).compile(one, mesh)
    assert told == ["products"] * 2 and whole.machine_code and not early.machine_code
    assert early.memory == pytest.approx(whole.memory, rel=0.05)
    assert (early.flops, early.hbm) == (whole.flops, pytest.approx(whole.hbm, rel=0.05))
