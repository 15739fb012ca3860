"""A model as everybody else sees it: a record of pure functions closed over a config and a mesh.

Shapes: B batch or slots, T time, S cache length, D model width, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Protocol, runtime_checkable

import jax
from flax import nnx
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.kernels.attention.backends import Attention, attention_for
from reasoning.kernels.backends import Choice
from reasoning.kernels.grouped import GroupedProduct, grouped_for
from reasoning.models import cache as caches
from reasoning.models import decoder as decoders
from reasoning.models.cache import Cache, Weights
from reasoning.models.config import ModelConfig
from reasoning.models.decoder import Decoder, Structure, cast
from reasoning.models.lora import LoRA, adapters_of, base_of, check_targets, merge_adapters
from reasoning.models.parameters import Params, Placement


@runtime_checkable
class LanguageModel(Protocol):
    """What train steps and engines know of a model, ours or one that a user brings (``models.foreign``)."""

    @property
    def mesh(self) -> Mesh | None: ...
    @property
    def shapes(self) -> Params: ...
    @property
    def axes(self) -> Params: ...
    @property
    def context(self) -> int: ...
    @property
    def hidden_states(self) -> Callable[..., tuple[jax.Array, dict[str, Any]]]: ...
    @property
    def unembedding(self) -> Callable[[Params], jax.Array]: ...
    @property
    def soft_cap(self) -> float | None: ...
    @property
    def rebalance(self) -> Callable[[Params, Any], Params]: ...
    @property
    def multi_token(self) -> int: ...
    @property
    def multi_token_coefficient(self) -> float: ...
    @property
    def multi_token_states(self) -> Callable[..., tuple[tuple[jax.Array, ...], dict[str, Any]]]: ...
    @property
    def publish(self) -> Callable[[Params], Weights]: ...
    @property
    def cache_shapes(self) -> Callable[[int, int], Cache]: ...
    @property
    def prefill(self) -> Callable[..., tuple[jax.Array, Cache]]: ...
    @property
    def decode(self) -> Callable[..., tuple[jax.Array, Cache]]: ...


def unchanged(params: Params, load: Any) -> Params:
    """The ``rebalance`` of models without experts."""
    return params


def no_further_tokens(*arguments: Any) -> tuple[tuple[jax.Array, ...], dict[str, Any]]:
    """The ``multi_token_states`` of models that predict the next token only."""
    return (), {}


@dataclass(frozen=True, eq=False)
class Model:
    """Pure functions of one architecture on one mesh; ``params`` is a nested dict of float32 arrays.

    Equal configs on equal meshes give one and the same record, so that what is compiled for it is shared.

    - ``init(key) -> params``; ``shapes`` and ``axes`` are the parameters' shapes and logical axes.
    - ``hidden_states(params, tokens_BT, positions_BT, segments_BT) -> (hidden_BTD, aux)`` for packed rows; with a fifth
      argument, a ``sequences.Group``, for rows that begin alike.
    - ``unembedding(params) -> [D, V]``, in the dtype of the computation; logits are then kept within ``soft_cap``.
    - ``multi_token_states(params, hidden_BTD, tokens_BT, …)`` for blocks that predict further tokens, none in most.
    - ``rebalance(params, load) -> params`` after a step, for routers whose bias keeps experts evenly loaded.
    - ``publish(params) -> weights``: cast and unstacked, as decoding wants them.
    - ``cache_shapes(slots, length)``; ``prefill(weights, tokens_BT, lengths_B, cache)``, of what is padded on the right
      and follows what the cache holds, and ``decode(weights, tokens_B, cache)`` give the last token's hidden state
      [B, D] and the new cache;
      ``extend(weights, tokens_BT, cache)`` gives the hidden states of all T.

    With ``lora`` (``with_lora``) the parameters hold adapters, and ``publish`` gives weights of the ``plain`` model.
    """

    config: ModelConfig
    mesh: Mesh | None
    attention: Attention
    grouped: GroupedProduct
    shapes: Params
    axes: Params
    context: int  # the longest sequence that the model may see
    init: Callable[[jax.Array], Params]
    hidden_states: Callable[..., tuple[jax.Array, dict[str, Any]]]
    unembedding: Callable[[Params], jax.Array]
    soft_cap: float | None
    rebalance: Callable[[Params, Any], Params]
    multi_token: int  # how many blocks predict tokens after the next …
    multi_token_coefficient: float  # … and what their loss is multiplied by
    multi_token_states: Callable[..., tuple[tuple[jax.Array, ...], dict[str, Any]]]
    publish: Callable[[Params], Weights]
    cache_shapes: Callable[[int, int], Cache]
    prefill: Callable[..., tuple[jax.Array, Cache]]
    decode: Callable[..., tuple[jax.Array, Cache]]
    extend: Callable[..., tuple[jax.Array, Cache]]
    lora: LoRA | None = None
    plain: "Model | None" = None


def build_model(config: ModelConfig, mesh: Mesh | None = None, kernels: Choice = "auto") -> Model:
    """The functions of ``config`` on ``mesh`` (None: no sharding constraints). Allocates nothing.

    ``kernels`` compute attention over whole sequences and experts' products: by default those for the mesh's devices
    (``kernels.attention``, ``kernels.grouped``).
    """
    return _built(config, mesh, kernels)


@lru_cache(maxsize=32)
def _built(config: ModelConfig, mesh: Mesh | None, kernels: Choice) -> Model:
    return _functions(config, mesh, attention_for(kernels, mesh), grouped_for(kernels, mesh), None)


@lru_cache(maxsize=32)
def with_lora(model: Model, lora: LoRA | None) -> Model:
    """The model with adapters beside its matrices; the very same without ``lora``.

    Its decoding functions take what its ``publish`` gives, with adapters merged into their matrices, so they are the
    plain model's. Raises InputError where a target of ``lora`` is no matrix of this model.
    """
    if lora is None:
        return model
    adapted = _functions(model.config, model.mesh, model.attention, model.grouped, lora)
    check_targets(lora, adapted.shapes)
    return replace(
        adapted,
        publish=lambda params: model.publish(merge_adapters(lora, params)),
        prefill=model.prefill,
        decode=model.decode,
        extend=model.extend,
        plain=model,
    )


def without_lora(model: Model) -> Model:
    """The plain model beneath an adapted one, or the model itself."""
    return model.plain or model


def trained(model: LanguageModel, params: Params) -> Params:
    """Those of a model's parameters (or shapes, or shardings) that train: all, or only the adapters where it has any.

    Only models of ours can have adapters, not those that a user brings.
    """
    return adapters_of(params) if isinstance(model, Model) and model.lora is not None else params


def frozen_params(model: LanguageModel, params: Params) -> Params:
    """What is held of parameters that don't train (a base, a reference, a teacher): without adapters, and in the dtype
    of the computation once and for all.

    Every loss casts to it first, so its numbers are the same, and no gradient needs them wider. Parameters of a model
    that a user brings stay as they are.
    """
    return cast(base_of(params), model.config.compute_dtype) if isinstance(model, Model) else params


def frozen_shapes(model: LanguageModel, mesh: Mesh) -> Params:
    """The shapes of ``frozen_params`` and where they lie on ``mesh``."""
    shapes, places = jax.eval_shape(partial(frozen_params, model), model.shapes), parameter_shardings(model, mesh)
    return meshes.with_shardings(shapes, base_of(places) if isinstance(model, Model) else places)


def _functions(
    config: ModelConfig, mesh: Mesh | None, attention: Attention, grouped: GroupedProduct, lora: LoRA | None
) -> Model:
    def construct(key: jax.Array) -> Decoder:
        return Decoder(config, lora, nnx.Rngs(params=key))

    def init(key: jax.Array) -> Params:
        with nnx.use_eager_sharding(False):
            return nnx.to_pure_dict(nnx.split(construct(key))[1])

    with nnx.use_eager_sharding(False):
        graph, state = nnx.split(nnx.eval_shape(lambda: construct(jax.random.key(0))))
    axes: Any = nnx.to_pure_dict(nnx.get_partition_spec(state))
    structure = Structure(config, graph, axes, Placement(mesh, grouped), attention)
    return Model(
        config=config,
        mesh=mesh,
        attention=attention,
        grouped=grouped,
        shapes=nnx.to_pure_dict(state),
        axes=axes,
        context=config.context,
        init=init,
        hidden_states=partial(decoders.hidden_states, structure),
        unembedding=partial(decoders.unembedding, structure),
        soft_cap=config.logit_soft_cap or None,
        rebalance=partial(decoders.rebalance, structure),
        multi_token=config.multi_token,
        multi_token_coefficient=config.multi_token_coefficient,
        multi_token_states=partial(decoders.multi_token_states, structure),
        publish=partial(caches.publish, structure),
        cache_shapes=partial(caches.cache_shapes, structure),
        prefill=partial(caches.prefill, structure),
        decode=partial(caches.decode, structure),
        extend=partial(caches.extend, structure),
        lora=lora,
    )


def parameter_count(model: LanguageModel) -> int:
    """How many parameters the model has, counted from shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(model.shapes))


def check_memory(model: LanguageModel, mesh: Mesh, stage: str) -> None:
    """InputError where the parameters alone, as float32, are more than the devices of ``mesh`` can hold."""
    count, held = parameter_count(model), meshes.memory_bytes(mesh)
    if held is not None and 4 * count > held:
        raise InputError(
            f"stage {stage}: the model has {count:,} parameters, {4 * count / 2**30:,.0f} GiB as float32, and the "
            f"devices hold {held / 2**30:,.0f} GiB; make the model smaller, or take more devices"
        )


def adapter_count(model: Model) -> int:
    """How many of them belong to adapters."""
    return parameter_count(model) - parameter_count(without_lora(model))


def parameter_shardings(model: LanguageModel, mesh: Mesh) -> Params:
    """The NamedSharding of each parameter on ``mesh``; InputError, with the numbers, where one doesn't divide."""
    return jax.tree.map_with_path(
        lambda path, leaf, axes: meshes.sharding(
            mesh, tuple(axes), leaf.shape, f"parameter {jax.tree_util.keystr(path)}"
        ),
        model.shapes,
        model.axes,
    )


def init_sharded(model: Model, mesh: Mesh, key: jax.Array) -> Params:
    """Fresh parameters, made on the devices that will hold them; equal for any mesh."""
    return jax.jit(model.init, out_shardings=parameter_shardings(model, mesh))(key)


def init_adapters(model: Model, mesh: Mesh, key: jax.Array) -> Params:
    """Fresh adapters of an adapted model, which change nothing yet; the matrices beside them are never made."""
    places = trained(model, parameter_shardings(model, mesh))
    return jax.jit(lambda key: trained(model, model.init(key)), out_shardings=places)(key)
