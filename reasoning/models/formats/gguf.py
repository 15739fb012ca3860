"""Reads a model from a GGUF file, llama.cpp's format, whose weights may be quantised; they become float32 again.

The file's tensors are Hugging Face's under other names, except that rotary rows of Llama's queries and keys lie
interleaved. The ``gguf`` package (extra ``hf``) reads the format.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.models.config import ModelConfig, Rope, Stack, check_layers
from reasoning.models.formats.checkpoint_reader import Report, check_tensors, silent
from reasoning.models.formats.gguf_header import check_header
from reasoning.models.formats.safetensors import some_names
from reasoning.models.formats.tensor_names import Part, parts
from reasoning.models.model import build_model, parameter_shardings
from reasoning.models.parameters import Params

_INTERLEAVED = ("llama",)
_ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "llama": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"query_key_norm": "head"},
}
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_STRETCHES = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that stretch rotary positions."""

_TENSOR_NAME = re.compile(r"(?:blk\.(0|[1-9][0-9]{0,5})\.)?([a-z_]+)\.(weight|bias)")

_LARGEST, _DIGITS = 2**31 - 1, 12
"""The largest number of a setting, and to how many digits one is read: files hold it in single precision."""

_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "expert_count": (0,),
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping"), (0,)),
    **dict.fromkeys(("logit_scale", "embedding_scale", "residual_scale"), (0, 1)),
    **dict.fromkeys(("rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"), (0, 1)),
}
"""Fields that models of these architectures have in one form only, where at all, and which that is."""


@dataclass(frozen=True)
class GGUF:
    """An opened file: its metadata, and its tensors by the names that Hugging Face gives them."""

    path: Path
    reader: Any

    @cached_property
    def tensors(self) -> dict[str, Any]:
        """The library's records of the tensors."""
        named: dict[str, Any] = {}
        for tensor in self.reader.tensors:
            name = their_name(tensor.name)
            if name in named:
                raise InputError(f"{self.path} holds {some_names([name])} twice; fetch the file again")
            named[name] = tensor
        return named

    @property
    def architecture(self) -> str:
        """What kind of model it is, in llama.cpp's words."""
        return str(self.value("general.architecture"))

    def value(self, name: str, default: Any = None) -> Any:
        """A metadata field. Raises InputError where the file lacks it and there is no default."""
        field = self.reader.fields.get(name)
        if field is None and default is None:
            raise InputError(f"{self.path} has no field {name}; convert the model anew with llama.cpp's script")
        try:
            return default if field is None else field.contents()
        except (ValueError, IndexError, TypeError) as error:
            raise InputError(f"{self.path}: the field {name} is damaged: {error}; fetch the file again") from None

    def setting(self, name: str, default: Any = None) -> Any:
        """A field of the architecture, such as ``rope.scaling.type``."""
        return self.value(f"{self.architecture}.{name}", default)

    def size(self, name: str, default: Any = None) -> int:
        """A field of the architecture that is a count, such as ``block_count``. Raises InputError for another."""
        value = self.setting(name, default)
        if type(value) is not int or not 1 <= value <= _LARGEST:
            raise InputError(
                f"{self.path}: {self.architecture}.{name} is {value!r:.60}, expected a whole number from 1 to "
                f"{_LARGEST}; fetch the file again"
            )
        return value

    def number(self, name: str, default: Any = None) -> float:
        """A field of the architecture that is a number above zero. Raises InputError for another."""
        value = self.setting(name, default)
        if type(value) not in (int, float) or not 0 < round(value, _DIGITS) < _LARGEST:
            raise InputError(
                f"{self.path}: {self.architecture}.{name} is {value!r:.60}, expected a number above 0; fetch the file "
                "again"
            )
        return float(value)

    def values(self, name: str) -> np.ndarray:
        """A tensor in Hugging Face's layout, float32. Raises InputError for values that are not finite."""
        gguf = _library()
        tensor = self.tensors[name]
        try:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            raise InputError(
                f"{self.path}: {tensor.name} is quantised as {tensor.tensor_type.name}, which the gguf package can't "
                "read; take a file with another quantisation"
            ) from None
        values = np.asarray(values, np.float32).reshape(tuple(int(size) for size in reversed(tensor.shape)))
        if not np.isfinite(values).all():
            raise InputError(f"{self.path}: {tensor.name} holds NaN or infinity; fetch the file again")
        if self.architecture in _INTERLEAVED and ".self_attn." in name and ("q_proj" in name or "k_proj" in name):
            heads = self.size("attention.head_count")
            heads = heads if "q_proj" in name else self.size("attention.head_count_kv", heads)
            values = half_split(values, heads)
        return values


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys whose rotated channels are neighbours, as rows whose channels lie half a head apart."""
    channels = rows.shape[0] // heads
    paired = rows.reshape(heads, channels // 2, 2, *rows.shape[1:])
    return paired.swapaxes(1, 2).reshape(rows.shape)


def their_name(name: str) -> str:
    """Hugging Face's name of a GGUF tensor; an unknown one stays as it is."""
    found = _TENSOR_NAME.fullmatch(name)
    if found is None or found[2] not in _NAMES:
        return name
    layer = "" if found[1] is None else f"model.layers.{found[1]}."
    return f"{layer}{_NAMES[found[2]]}.{found[3]}"


def open_gguf(path: Path) -> GGUF:
    """Opens a file. Raises InputError where it is none, is cut off, or holds a model of an unknown architecture."""
    gguf = _library()
    check_header(path)
    try:
        reader = gguf.GGUFReader(path)
    except OSError as error:
        raise InputError(f"could not read {path}: {error}") from None
    except (ValueError, KeyError, IndexError, OverflowError, TypeError) as error:
        raise InputError(f"{path} is cut off or damaged: {error}; fetch it again") from None
    file = GGUF(path, reader)
    if file.architecture not in _ARCHITECTURES:
        raise InputError(
            f"{path} holds a model of architecture {file.architecture!r}; {some_names(_ARCHITECTURES)} can be read "
            "from GGUF, others from safetensors"
        )
    return file


def config_of(file: GGUF) -> ModelConfig:
    """The settings of the model in a file.

    Raises InputError, with the file and the field, for values that make no sense and for what isn't supported: of
    rotary scalings any but the linear one, rotation of a part of each head, windows shorter than the context.
    """
    embedding = file.tensors.get("model.embed_tokens.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise InputError(f"{file.path} has no token_embd.weight of two axes; fetch the file again")
    heads, width = file.size("attention.head_count"), file.size("embedding_length")
    head_dim = file.size("attention.key_length", width // heads or 1)
    layers = file.size("block_count")
    _check_plain(file, head_dim)
    try:
        check_layers(layers)
        return ModelConfig(
            vocabulary=int(embedding.shape[1]),
            width=width,
            heads=heads,
            kv_heads=file.size("attention.head_count_kv", heads),
            head_dim=head_dim,
            mlp_width=file.size("feed_forward_length"),
            stacks=(Stack(layers),),
            context=file.size("context_length"),
            rope=_rope(file),
            norm_epsilon=round(file.number("attention.layer_norm_rms_epsilon"), _DIGITS),
            tied="lm_head.weight" not in file.tensors,
            **_ARCHITECTURES[file.architecture],
        )
    except InputError as error:
        told = str(error)
        raise InputError(told if told.startswith(str(file.path)) else f"{file.path}: {told}") from None


def _check_plain(file: GGUF, head_dim: int) -> None:
    """Raises InputError for a setting that would change the model's numbers and isn't supported."""
    plain = {**_PLAIN, "rope.dimension_count": (head_dim,), "attention.value_length": (head_dim,)}
    context, window = file.size("context_length"), file.setting("attention.sliding_window", 0)
    for name, allowed in plain.items():
        value = file.setting(name, allowed[0])
        if value not in allowed:
            raise InputError(
                f"{file.path}: {file.architecture}.{name} is {value!r:.60}, and only "
                f"{' or '.join(map(str, allowed))} is supported here; take another file"
            )
    if window != 0 and (type(window) is not int or window < context):
        raise InputError(
            f"{file.path}: {file.architecture}.attention.sliding_window is {window!r:.40}, below the context of "
            f"{context}; windows can't be read from GGUF, take the safetensors"
        )


def _rope(file: GGUF) -> Rope:
    """Rotary positions: plain, or divided by a factor, which is what llama.cpp takes one without a type for."""
    base = file.number("rope.freq_base", 10_000.0)
    scaling = file.setting("rope.scaling.type", "")
    old = file.setting("rope.scale_linear", 0)
    factor = file.number("rope.scaling.factor", file.number("rope.scale_linear", 1.0) if old else 1.0)
    stretched = any(name in file.tensors for name in _STRETCHES)
    if stretched or scaling not in ("", "none", "linear") or (scaling == "none" and factor != 1.0):
        raise InputError(
            f"{file.path}: {file.architecture}.rope.scaling is {scaling or 'in a tensor'!r:.40} with factor {factor}; "
            "only linear scaling can be read from GGUF, take the safetensors"
        )
    return Rope(base) if factor == 1.0 else Rope(base, "linear", factor)


def import_gguf(file: GGUF, config: ModelConfig, mesh: Mesh, report: Report = silent) -> Params:
    """The parameters of a file, float32, sharded over ``mesh`` by the model's rules, one leaf at a time.

    ``report(done, total)`` counts parameters. Raises InputError that lists tensors which are missing, superfluous or
    of another shape.
    """
    parts_of = parts(config)
    shapes = {name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in file.tensors.items()}
    check_tensors(parts_of, shapes, (), f"{file.path} doesn't hold the model that its metadata describe")
    model = build_model(config)
    total = jax.tree.reduce(lambda size, shape: size + shape.size, model.shapes, 0)
    done = 0

    def place(path: tuple[Any, ...], shape: jax.ShapeDtypeStruct, where: jax.sharding.NamedSharding) -> jax.Array:
        nonlocal done
        values = _leaf_of(shape.shape, parts_of[tuple(key.key for key in path)], file.values)
        done += shape.size
        report(done, total)
        # A copy: an array that shared memory with numpy's could not be donated by a training step.
        return jax.make_array_from_callback(shape.shape, where, lambda index: values[index].copy())

    return jax.tree.map_with_path(place, model.shapes, parameter_shardings(model, mesh))


def _leaf_of(shape: tuple[int, ...], made_of: list[Part], values: Callable[[str], np.ndarray]) -> np.ndarray:
    """A leaf of ours from the whole tensors that it is made of."""
    leaf = np.empty(shape, np.float32)
    for part in made_of:
        tensor = part.tensor
        seen = values(tensor.name).reshape(tensor.view)
        if tensor.picked is not None:
            seen = seen.take(tensor.picked, axis=tensor.axis)
        leaf[part.place] = seen.transpose(tensor.order)
    return leaf


def _library() -> Any:
    try:
        return importlib.import_module("gguf")
    except ImportError:
        raise InputError("reading GGUF needs the gguf package: pip install 'reasoning-jax[hf]'") from None
