"""Reads a model from a GGUF file, llama.cpp's format, whose weights may be quantised; they become float32 again.

The file's tensors are Hugging Face's under other names, except that rotary rows of Llama's queries and keys lie
interleaved. The ``gguf`` package (extra ``hf``) reads the format.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.models.config import ModelConfig, Rope, Stack
from reasoning.models.formats.checkpoint_reader import Report, check_tensors, silent
from reasoning.models.formats.safetensors import some_names
from reasoning.models.formats.tensor_names import Part, parts
from reasoning.models.model import build_model, parameter_shardings
from reasoning.models.parameters import Params

_MAGIC = b"GGUF"
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
_IGNORED = ("rope_freqs.weight",)


@dataclass(frozen=True)
class GGUF:
    """An opened file: its metadata, and its tensors by the names that Hugging Face gives them."""

    path: Path
    reader: Any

    @cached_property
    def tensors(self) -> dict[str, Any]:
        """The library's records of the tensors."""
        return {their_name(tensor.name): tensor for tensor in self.reader.tensors if tensor.name not in _IGNORED}

    @property
    def architecture(self) -> str:
        """What kind of model it is, in llama.cpp's words."""
        return str(self.value("general.architecture"))

    def value(self, name: str, default: Any = None) -> Any:
        """A metadata field. Raises InputError where the file lacks it and there is no default."""
        field = self.reader.fields.get(name)
        if field is None and default is None:
            raise InputError(f"{self.path} has no field {name}; convert the model anew with llama.cpp's script")
        return default if field is None else field.contents()

    def size(self, name: str, default: Any = None) -> Any:
        """A field of the architecture, such as ``block_count``."""
        return self.value(f"{self.architecture}.{name}", default)

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
            heads = self.size("attention.head_count" if "q_proj" in name else "attention.head_count_kv")
            values = half_split(values, heads)
        return values


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys whose rotated channels are neighbours, as rows whose channels lie half a head apart."""
    channels = rows.shape[0] // heads
    paired = rows.reshape(heads, channels // 2, 2, *rows.shape[1:])
    return paired.swapaxes(1, 2).reshape(rows.shape)


def their_name(name: str) -> str:
    """Hugging Face's name of a GGUF tensor; an unknown one stays as it is."""
    *block, part, kind = name.split(".")
    if part not in _NAMES:
        return name
    layer = [f"model.layers.{block[1]}"] if block else []
    return ".".join([*layer, _NAMES[part], kind])


def open_gguf(path: Path) -> GGUF:
    """Opens a file. Raises InputError where it is none, is cut off, or holds a model of an unknown architecture."""
    gguf = _library()
    try:
        with path.open("rb") as stream:
            if stream.read(4) != _MAGIC:
                raise InputError(f"{path} is no GGUF file; name one that llama.cpp reads")
        reader = gguf.GGUFReader(path)
    except OSError as error:
        raise InputError(f"could not read {path}: {error}") from None
    except (ValueError, KeyError, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is cut off or damaged: {error}; fetch it again") from None
    file = GGUF(path, reader)
    if file.architecture not in _ARCHITECTURES:
        raise InputError(
            f"{path} holds a model of architecture {file.architecture!r}; {some_names(_ARCHITECTURES)} can be read "
            "from GGUF, others from safetensors"
        )
    return file


def config_of(file: GGUF) -> ModelConfig:
    """The settings of the model in a file. Raises InputError for rotary scalings, which GGUF spells in many ways."""
    scaling = file.size("rope.scaling.type", "none")
    if scaling != "none" or any(tensor.name in _IGNORED for tensor in file.reader.tensors):
        raise InputError(f"{file.path}: stretched rotary positions can't be read from GGUF; take the safetensors")
    heads = file.size("attention.head_count")
    return ModelConfig(
        vocabulary=int(file.tensors["model.embed_tokens.weight"].shape[1]),
        width=file.size("embedding_length"),
        heads=heads,
        kv_heads=file.size("attention.head_count_kv", heads),
        head_dim=file.size("attention.key_length", file.size("embedding_length") // heads),
        mlp_width=file.size("feed_forward_length"),
        stacks=(Stack(file.size("block_count")),),
        context=file.size("context_length"),
        rope=Rope(base=float(file.size("rope.freq_base", 10_000.0))),
        norm_epsilon=round(float(file.size("attention.layer_norm_rms_epsilon")), 12),
        tied="lm_head.weight" not in file.tensors,
        **_ARCHITECTURES[file.architecture],
    )


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
