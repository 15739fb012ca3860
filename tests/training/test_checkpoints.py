import os
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compilations import compilations
from jax.sharding import AxisType, Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P
from orbax.checkpoint import v1 as ocp

from reasoning.core.errors import InputError
from reasoning.training.checkpoints import Checkpointer, load_params, params_shapes, save_params


def state_of(step):
    return {
        "w": jnp.full((8, 16), step, jnp.float32) / 7,
        "b": jnp.full((8,), step, jnp.bfloat16),
        "key": jax.random.key(step),
        "step": jnp.int32(step),
    }


def abstract(tree):
    sharding = SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def bits(tree):
    """Every leaf as (dtype, shape, bytes), by plain numpy."""
    leaves = []
    for leaf in jax.tree.leaves(tree):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        leaves.append((str(leaf.dtype), array.shape, array.tobytes()))
    return leaves


def checkpointer(folder, **options):
    warnings = []
    return Checkpointer(folder, warn=warnings.append, **options), warnings


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """A folder with the checkpoints of steps 1 and 2, to be copied."""
    folder = tmp_path_factory.mktemp("two") / "steps"
    for step in (1, 2):
        Checkpointer(folder).save(step, state_of(step), {"at": step})
    return folder


def test_a_training_state_comes_back_to_the_last_bit(tmp_path):
    odd = np.array([0x7FC1, 0x8000, 0x0001, 0xFF80], np.uint16).view(jnp.bfloat16)  # a NaN with payload, -0, tiny, -inf
    params = {"layers": {"w": jax.random.normal(jax.random.key(0), (3, 5))}, "odd": jnp.asarray(odd)}
    state = {
        "params": params,
        "optimizer": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)).init(params),
        "extra": {"loads": jnp.array([True, False])},
        "nothing": {},
        "keys": (jax.random.key(1), jax.random.split(jax.random.key(2, impl="rbg"), 3)),
        "step": jnp.int32(7),
    }
    store, warnings = checkpointer(tmp_path / "made" / "on demand")
    store.save(7, state, {"rows": [1, 2.5, "x"]})
    step, restored, cursor = store.restore(abstract(state))
    assert (step, cursor, warnings) == (7, {"rows": [1, 2.5, "x"]}, [])
    assert bits(restored) == bits(state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)


def test_eight_devices_one_and_four_read_each_others_checkpoints_to_the_last_bit(two_steps, tmp_path):
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(4, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    specs = {"w": P("a", "b"), "b": P(("a", "b")), "key": P(), "step": P()}
    spread = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, specs[name]))
        for name, leaf in state_of(2).items()
    }
    _, on_eight, _ = Checkpointer(two_steps).restore(spread)
    assert {name: leaf.sharding for name, leaf in on_eight.items()} == {k: v.sharding for k, v in spread.items()}
    assert bits(on_eight) == bits(state_of(2))
    Checkpointer(tmp_path).save(2, on_eight, {})
    _, on_one, _ = Checkpointer(tmp_path).restore(abstract(state_of(2)))
    assert bits(on_one) == bits(state_of(2))
    Checkpointer(tmp_path / "one").save(3, on_one, {})
    four = NamedSharding(Mesh(np.array(jax.devices()[:4]), ("a",), axis_types=(AxisType.Auto,)), P())
    places = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=four) for name, leaf in spread.items()}
    places["w"] = jax.ShapeDtypeStruct(spread["w"].shape, spread["w"].dtype, sharding=NamedSharding(four.mesh, P("a")))
    _, on_four, _ = Checkpointer(tmp_path / "one").restore(places)
    assert on_four["w"].sharding == places["w"].sharding and bits(on_four) == bits(state_of(2))


def test_plain_orbax_reads_a_checkpoint_too(two_steps):
    assert bits(ocp.load(str(two_steps / "step_00000002"), abstract(state_of(2)))) == bits(state_of(2))


def test_small_arrays_that_all_devices_hold_are_written_whole_and_no_program_cuts_them(tmp_path):
    place = NamedSharding(Mesh(np.array(jax.devices()[:8]), ("a",), axis_types=(AxisType.Auto,)), P())
    held = {"w": jax.device_put(np.ones((8, 11), np.float32), place)}
    with compilations() as compiled:
        Checkpointer(tmp_path).save(1, held, {})
    assert "slice" not in compiled


def flip(path):
    data = bytearray(path.read_bytes())
    place = random.Random(path.name).randrange(len(data) * 8)
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("harm", [flip, cut, lengthen, os.unlink])
def test_harm_to_any_one_file_is_noticed_and_the_step_before_is_used(two_steps, tmp_path, harm):
    newest = two_steps / "step_00000002"
    names = [path.relative_to(newest) for path in newest.rglob("*") if path.is_file()]
    assert len(names) >= 9
    for number, name in enumerate(names):
        if harm in (flip, cut) and (newest / name).stat().st_size == 0:
            continue
        folder = tmp_path / str(number)
        shutil.copytree(two_steps, folder)
        harm(folder / "step_00000002" / name)
        store, warnings = checkpointer(folder)
        step, state, cursor = store.restore(abstract(state_of(1)))
        assert (step, cursor) == (1, {"at": 1})
        assert bits(state) == bits(state_of(1))
        (warning,) = warnings
        assert str(folder / "step_00000002" / name) in warning and "using step 1 instead" in warning


def test_without_a_manifest_a_step_does_not_count(two_steps, tmp_path):
    shutil.copytree(two_steps, tmp_path, dirs_exist_ok=True)
    (tmp_path / "step_00000002" / "manifest.json").unlink()
    assert Checkpointer(tmp_path).latest_step() == 1


def test_when_all_are_damaged_each_is_reported_and_there_is_none(two_steps, tmp_path):
    shutil.copytree(two_steps, tmp_path, dirs_exist_ok=True)
    for step in (1, 2):
        flip(tmp_path / f"step_0000000{step}" / "cursor.json")
    store, warnings = checkpointer(tmp_path)
    assert store.restore(abstract(state_of(1))) is None
    assert ["step_00000002" in warnings[0], "step_00000001" in warnings[1]] == [True, True]
    assert all("no valid one is left" in warning for warning in warnings)


def test_an_empty_or_absent_folder_has_no_checkpoint(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        store, warnings = checkpointer(folder)
        assert (store.restore(abstract(state_of(1))), store.latest_step(), warnings) == (None, None, [])


def test_what_killed_saves_left_is_never_read_and_goes_with_the_next_save(two_steps, tmp_path):
    shutil.copytree(two_steps, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "step_00000002", tmp_path / "step_00000003.partial")
    (tmp_path / "step_00000004.partial.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    (tmp_path / "step_00000001.old.partial").mkdir()
    (tmp_path / "somebody else's.partial").mkdir()
    store, warnings = checkpointer(tmp_path)
    assert store.latest_step() == 2
    assert store.restore(abstract(state_of(2)))[0] == 2
    store.save(3, state_of(3), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "somebody else's.partial",
        "step_00000002",
        "step_00000003",
    ]
    assert warnings == []


def test_the_newest_and_every_nth_step_are_kept(tmp_path):
    store = Checkpointer(tmp_path, keep=2, keep_every=3)
    for step in range(1, 9):
        store.save(step, {"step": jnp.int32(step)}, None)
    assert store.steps() == [3, 6, 7, 8]


def test_keeping_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="keep at least 1"):
        Checkpointer(tmp_path, keep=0)


@pytest.mark.parametrize("step", [2, 3], ids=["the damaged step again", "an earlier step than the damaged one"])
def test_after_walking_back_the_new_course_replaces_the_damaged_one(tmp_path, step):
    store, warnings = checkpointer(tmp_path, keep=1)
    store.save(1, state_of(1), {})
    shutil.copytree(tmp_path / "step_00000001", tmp_path / "spare")
    damaged = 2 if step == 2 else 4
    store.save(damaged, state_of(damaged), {})
    os.rename(tmp_path / "spare", tmp_path / "step_00000001")
    flip(tmp_path / f"step_0000000{damaged}" / "cursor.json")
    assert store.restore(abstract(state_of(1)))[0] == 1
    warnings.clear()
    store.save(step, state_of(step), {"course": "new"})
    assert store.steps() == [step]
    restored = store.restore(abstract(state_of(1)))
    assert (restored[0], restored[2]) == (step, {"course": "new"})
    assert bits(restored[1]) == bits(state_of(step))
    assert ["abandoned course" in warning for warning in warnings] == ([] if step == 2 else [True])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"w": jnp.zeros((8, 4))}, r"w: saved float32\[8, 16\], asked for float32\[8, 4\]"),
        ({"b": jnp.zeros(8)}, r"b: saved bfloat16\[8\], asked for float32\[8\]"),
        ({"more": {"v": jnp.zeros(2)}}, r"more/v: saved nothing, asked for float32\[2\]"),
        ({"w": {}}, r"w: saved float32\[8, 16\], asked for nothing"),
        ({"key": jax.random.key(0, impl="rbg")}, r"key: saved key<fry>\[\], asked for key<rbg>\[\]"),
        ({f"x{i}": jnp.zeros(1) for i in range(9)}, r"x4: .*; and 4 more; use the settings"),
    ],
    ids=["shape", "dtype", "more", "fewer", "kind of key", "many"],
)
def test_a_checkpoint_of_another_model_is_refused_by_leaf(two_steps, change, complaint):
    with pytest.raises(InputError, match=f"step_00000002 does not fit this model: .*{complaint}"):
        Checkpointer(two_steps).restore(abstract(state_of(2) | change))


def test_the_manifest_reaches_the_disk_last_then_the_name_then_the_folder(tmp_path, monkeypatch):
    events = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)

        def record(*arguments, name=name, real=real, **options):
            place = os.readlink(f"/proc/self/fd/{arguments[0]}") if name == "fsync" else str(arguments[1])
            events.append((name, os.path.relpath(place, tmp_path)))
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, record)
    Checkpointer(tmp_path).save(5, {"w": jnp.ones(3)}, {})
    order = [event[1] for event in events if event[0] == "fsync"]
    partial = "step_00000005.partial"
    files = {path.relative_to(tmp_path / "step_00000005") for path in (tmp_path / "step_00000005").rglob("*")}
    before = set(order[: next(i for i, path in enumerate(order) if "manifest.json" in path)])
    assert before >= {f"{partial}/{path}" for path in files if path.name != "manifest.json"} | {partial}
    assert events[-2:] == [("rename", "step_00000005"), ("fsync", ".")]


def test_what_can_not_be_saved_is_refused_before_anything_is_written(tmp_path):
    store = Checkpointer(tmp_path / "none")
    with pytest.raises(TypeError, match="'name'.* is a str; checkpoints hold arrays only"):
        store.save(1, {"name": "x"}, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.save(1, {"w": jnp.ones(2)}, {"loss": float("nan")})
    assert store.steps() == []


def test_what_does_not_fit_on_the_disk_is_refused_before_it_fills_it(tmp_path, monkeypatch):
    store = Checkpointer(tmp_path)
    store.save(1, state_of(1), {})
    room = shutil.disk_usage(tmp_path)._replace(free=state_of(1)["w"].nbytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: room)
    with pytest.raises(
        InputError, match=r"step 2 to .*No space left on device: 540 bytes needed, 512 free; .*step 1 is"
    ):
        store.save(2, state_of(2), {})
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: room._replace(total=0, free=0))  # says nothing
    store.save(2, state_of(2), {})
    assert store.latest_step() == 2


def test_parameters_come_back_to_the_last_bit_and_a_second_save_replaces_them(tmp_path):
    folder = tmp_path / "artifact" / "checkpoint"
    (folder.parent / "checkpoints.partial").mkdir(parents=True)  # not ours, for all its name
    (folder.parent / "checkpoint.partial.orbax-checkpoint-tmp").mkdir()
    for value in (1, 2):
        params = {"layers": {"w": jnp.full((2, 3), value, jnp.bfloat16)}, "head": jnp.full((3,), value / 3)}
        save_params(folder, params)
    assert bits(load_params(folder, abstract(params))) == bits(params)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["checkpoint", "checkpoints.partial"]


def test_shapes_are_read_without_reading_arrays(tmp_path):
    params = {"layers": {"w": jnp.zeros((2, 3), jnp.bfloat16), "b": jnp.zeros(3)}, "head": jnp.zeros((), jnp.int32)}
    save_params(tmp_path / "checkpoint", params)
    shutil.rmtree(tmp_path / "checkpoint" / "state")
    assert params_shapes(tmp_path / "checkpoint") == jax.eval_shape(lambda: params)


def test_damaged_or_missing_parameters_are_refused_by_file(tmp_path):
    params = {"w": jnp.ones((4, 4))}
    save_params(tmp_path / "checkpoint", params)
    for name in ("state/_METADATA", "manifest.json"):
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(tmp_path / "checkpoint", folder)
        flip(folder / name)
        with pytest.raises(InputError, match=f"damaged checkpoint: .*{folder.name}/{name}"):
            load_params(folder, abstract(params))
    for read in (lambda folder: load_params(folder, abstract(params)), params_shapes):
        with pytest.raises(InputError, match="absent/manifest.json does not exist"):
            read(tmp_path / "absent")
    with pytest.raises(InputError, match=r"w: saved float32\[4, 4\], asked for float32\[4, 5\]"):
        load_params(tmp_path / "checkpoint", abstract({"w": jnp.ones((4, 5))}))
