"""The state of an engine: how its arrays are split over devices."""

import jax
from jax.sharding import PartitionSpec

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.state import Sizes, empty_state, state_shardings
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model


def test_rows_lie_over_the_data_parallel_devices_and_key_heads_over_tensor_where_they_divide():
    mesh = build_mesh(MeshShape(data=2, fsdp=2, tensor=2))
    sizes = Sizes(parts=4, slots=2, prompts=3, group=1, time=8, ended=5)
    for heads, expected in ((2, "tensor"), (1, None)):
        config = ModelConfig(
            vocabulary=24, width=16, heads=2, kv_heads=heads, mlp_width=32, stacks=(Stack(1),), context=64
        )
        model = build_model(config, mesh)
        state = jax.eval_shape(lambda key, model=model: empty_state(model, 7, sizes, key), jax.random.key(0))
        assert state.slots.cache["layers"][0][0].shape == (8, heads, 15, 8)
        assert state.pool.cache["layers"][0][0].shape == (12, heads, 8, 8)
        assert state.finished.tokens.shape == (4 * 6, 7)
        places = state_shardings(mesh, state)
        rows = ("data", "fsdp", "expert")
        assert places.slots.tokens.spec == PartitionSpec(rows)
        assert places.slots.cache["layers"][0][0].spec[:1] == (rows,)
        assert (*places.slots.cache["layers"][0][0].spec, None)[1] == expected
