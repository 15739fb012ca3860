"""Which tensors of a Hugging Face checkpoint our parameters come from, and how they are laid out there, as data.

Their linear layers are [out, in] with heads flattened, one tensor a layer (and expert); ours are [in, ...] with heads
apart, stacked over a stack's layers. Everything follows from the ``ModelConfig``; there is no table by family.
Letters: D width, V vocabulary, H heads, K key/value heads, C head size, F hidden of an MLP, E experts, R latent rank.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reasoning.models.config import BlockKind, Latent, ModelConfig, MoE, stack_name
from reasoning.models.multi_token import multi_token_name

LeafPath = tuple[str, ...]


@dataclass(frozen=True)
class Tensor:
    """One tensor of theirs, as the part of a leaf of ours that it holds.

    Seen in shape ``view`` (which only splits axes), of whose axis ``axis`` the indices ``picked`` are taken (None:
    all, in order), its axes in the order ``order`` are the part. Several parts may share a tensor.
    """

    name: str
    view: tuple[int, ...]
    order: tuple[int, ...]
    flat: tuple[int, ...]  # how many axes of the view each axis of the stored tensor is made of
    axis: int = 0
    picked: tuple[int, ...] | None = None
    full_precision: bool = False  # is stored in float32, whatever the rest is

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that it has in the file."""
        shape, rest = [], list(self.view)
        for count in self.flat:
            shape.append(int(np.prod(rest[:count])))
            rest = rest[count:]
        return tuple(shape)

    @property
    def part_shape(self) -> tuple[int, ...]:
        """The shape of the part that it holds."""
        sizes = list(self.view)
        if self.picked is not None:
            sizes[self.axis] = len(self.picked)
        return tuple(sizes[axis] for axis in self.order)


@dataclass(frozen=True)
class Part:
    """``leaf[place]`` is what ``tensor`` holds; a place is a layer of a stack, a layer and an expert, or nothing."""

    place: tuple[int, ...]
    tensor: Tensor


def _plain(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, tuple(range(len(shape))), (1,) * len(shape))


def _heads(name: str, heads: int, channels: int) -> Tensor:
    """A flat vector of theirs that is [heads, channels] here."""
    return Tensor(name, (heads, channels), (0, 1), (2,))


def _linear(name: str, inner: int, outer: int) -> Tensor:
    """[outer, inner] there, [inner, outer] here."""
    return Tensor(name, (outer, inner), (1, 0), (1, 1))


def _to_heads(name: str, inner: int, heads: int, channels: int) -> Tensor:
    """[heads * channels, inner] there, [inner, heads, channels] here."""
    return Tensor(name, (heads, channels, inner), (2, 0, 1), (2, 1))


def _from_heads(name: str, heads: int, channels: int, outer: int) -> Tensor:
    """[outer, heads * channels] there, [heads, channels, outer] here."""
    return Tensor(name, (outer, heads, channels), (1, 2, 0), (1, 2))


def _part_of(whole: Tensor, axis: int, picked: Sequence[int]) -> Tensor:
    return Tensor(whole.name, whole.view, whole.order, whole.flat, axis, tuple(picked))


def _halves(first: int, count: int) -> list[int]:
    """Where the channels of our half-split rotary layout lie in DeepSeek's interleaved one, from ``first`` on."""
    return [*range(first, first + count, 2), *range(first + 1, first + count, 2)]


def _attention(config: ModelConfig, at: str) -> dict[LeafPath, Tensor]:
    width, heads, key_heads, size = config.width, config.heads, config.key_heads, config.head_size
    tensors: dict[LeafPath, Tensor] = {
        ("query",): _to_heads(f"{at}.q_proj.weight", width, heads, size),
        ("key",): _to_heads(f"{at}.k_proj.weight", width, key_heads, size),
        ("value",): _to_heads(f"{at}.v_proj.weight", width, key_heads, size),
        ("output",): _from_heads(f"{at}.o_proj.weight", heads, size, width),
    }
    if config.qkv_bias:
        tensors["query_bias",] = _heads(f"{at}.q_proj.bias", heads, size)
        tensors["key_bias",] = _heads(f"{at}.k_proj.bias", key_heads, size)
        tensors["value_bias",] = _heads(f"{at}.v_proj.bias", key_heads, size)
    if config.output_bias:
        tensors["output_bias",] = _plain(f"{at}.o_proj.bias", width)
    if config.sinks:
        tensors["sinks",] = _plain(f"{at}.sinks", heads)
    if config.query_key_norm == "head":
        tensors["query_norm", "scale"] = _plain(f"{at}.q_norm.weight", size)
        tensors["key_norm", "scale"] = _plain(f"{at}.k_norm.weight", size)
    if config.query_key_norm == "all":
        tensors["query_norm", "scale"] = _heads(f"{at}.q_norm.weight", heads, size)
        tensors["key_norm", "scale"] = _heads(f"{at}.k_norm.weight", key_heads, size)
    return tensors


def _latent_attention(config: ModelConfig, latent: Latent, at: str) -> dict[LeafPath, Tensor]:
    width, heads, rank = config.width, config.heads, latent.kv_lora_rank
    ours = (*range(latent.qk_nope_head_dim), *_halves(latent.qk_nope_head_dim, latent.qk_rope_head_dim))
    down = _linear(f"{at}.kv_a_proj_with_mqa.weight", width, rank + latent.qk_rope_head_dim)
    up = _to_heads(f"{at}.kv_b_proj.weight", rank, heads, latent.qk_nope_head_dim + latent.v_head_dim)
    tensors = {
        ("latent_down",): _part_of(down, 0, range(rank)),
        ("rotary_key",): _part_of(down, 0, _halves(rank, latent.qk_rope_head_dim)),
        ("latent_norm", "scale"): _plain(f"{at}.kv_a_layernorm.weight", rank),
        ("key_up",): _part_of(up, 1, range(latent.qk_nope_head_dim)),
        ("value_up",): _part_of(up, 1, range(latent.qk_nope_head_dim, latent.qk_nope_head_dim + latent.v_head_dim)),
        ("output",): _from_heads(f"{at}.o_proj.weight", heads, latent.v_head_dim, width),
    }
    if latent.q_lora_rank:
        query = _to_heads(f"{at}.q_b_proj.weight", latent.q_lora_rank, heads, latent.qk_head_dim)
        tensors["query_down",] = _linear(f"{at}.q_a_proj.weight", width, latent.q_lora_rank)
        tensors["query_norm", "scale"] = _plain(f"{at}.q_a_layernorm.weight", latent.q_lora_rank)
        tensors["query_up",] = _part_of(query, 1, ours)
    else:
        tensors["query",] = _part_of(_to_heads(f"{at}.q_proj.weight", width, heads, latent.qk_head_dim), 1, ours)
    return tensors


def _mlp(at: str, width: int, hidden: int) -> dict[LeafPath, Tensor]:
    return {
        ("gate",): _linear(f"{at}.gate_proj.weight", width, hidden),
        ("up",): _linear(f"{at}.up_proj.weight", width, hidden),
        ("down",): _linear(f"{at}.down_proj.weight", hidden, width),
    }


def _biased_experts(at: str, width: int, moe: MoE) -> dict[LeafPath, Tensor]:
    """Router and experts with biases, as gpt-oss has them: all experts in one tensor, each gate before its up."""
    experts, hidden = moe.experts, moe.mlp_width
    both = _plain(f"{at}.experts.gate_up_proj", experts, width, 2 * hidden)
    both_biases = _plain(f"{at}.experts.gate_up_proj_bias", experts, 2 * hidden)
    gates, ups = range(0, 2 * hidden, 2), range(1, 2 * hidden, 2)
    return {
        ("router",): _linear(f"{at}.router.weight", width, experts),
        ("logit_bias",): _plain(f"{at}.router.bias", experts),
        ("gate",): _part_of(both, 2, gates),
        ("up",): _part_of(both, 2, ups),
        ("down",): _plain(f"{at}.experts.down_proj", experts, hidden, width),
        ("gate_bias",): _part_of(both_biases, 1, gates),
        ("up_bias",): _part_of(both_biases, 1, ups),
        ("down_bias",): _plain(f"{at}.experts.down_proj_bias", experts, width),
    }


def _norms(config: ModelConfig, at: str) -> dict[LeafPath, Tensor]:
    names = {
        "before": {"attention_norm": "input", "mlp_norm": "post_attention"},
        "after": {"attention_post_norm": "post_attention", "mlp_post_norm": "post_feedforward"},
        "both": {
            "attention_norm": "input",
            "attention_post_norm": "post_attention",
            "mlp_norm": "pre_feedforward",
            "mlp_post_norm": "post_feedforward",
        },
    }[config.norms]
    return {(ours, "scale"): _plain(f"{at}.{theirs}_layernorm.weight", config.width) for ours, theirs in names.items()}


def _block(config: ModelConfig, kind: BlockKind, at: str) -> Iterator[tuple[LeafPath, Part]]:
    """The leaves of one block and their parts; the places are of experts only."""
    attention = f"{at}.self_attn"
    inner = (
        _attention(config, attention) if config.latent is None else _latent_attention(config, config.latent, attention)
    )
    tensors = {**_norms(config, at), **{("attention", *path): tensor for path, tensor in inner.items()}}
    moe = kind.moe
    if moe is None:
        dense = _mlp(f"{at}.mlp", config.width, config.mlp_width)
        tensors |= {("mlp", *path): tensor for path, tensor in dense.items()}
    elif moe.biases:
        experts = _biased_experts(f"{at}.mlp", config.width, moe)
        tensors |= {("moe", *path): tensor for path, tensor in experts.items()}
    else:
        tensors["moe", "router"] = _linear(f"{at}.mlp.gate.weight", config.width, moe.experts)
        if moe.router == "sigmoid":
            name = f"{at}.mlp.gate.e_score_correction_bias"
            tensors["moe", "router_bias"] = Tensor(name, (moe.experts,), (0,), (1,), full_precision=True)
        if moe.shared:
            shared = _mlp(f"{at}.mlp.shared_experts", config.width, moe.shared * moe.mlp_width)
            tensors |= {("moe", "shared", *path): tensor for path, tensor in shared.items()}
        for expert in range(moe.experts):
            for path, tensor in _mlp(f"{at}.mlp.experts.{expert}", config.width, moe.mlp_width).items():
                yield ("moe", *path), Part((expert,), tensor)
    for path, tensor in tensors.items():
        yield path, Part((), tensor)


def _multi_token(config: ModelConfig, index: int) -> Iterator[tuple[LeafPath, Part]]:
    """DeepSeek's block that predicts one token further: a layer after the last (arXiv 2412.19437, section 2.2)."""
    at = f"model.layers.{config.layers + index}"
    width = config.width
    yield ("hidden_norm", "scale"), Part((), _plain(f"{at}.hnorm.weight", width))
    yield ("embedding_norm", "scale"), Part((), _plain(f"{at}.enorm.weight", width))
    yield ("projection",), Part((), _linear(f"{at}.eh_proj.weight", 2 * width, width))
    yield ("final_norm", "scale"), Part((), _plain(f"{at}.shared_head.norm.weight", width))
    for path, part in _block(config, config.stacks[-1].pattern[-1], at):
        yield ("block", *path), part


def parts(config: ModelConfig) -> dict[LeafPath, list[Part]]:
    """For each leaf of the parameters, by its path, the tensors that make it up."""
    parts_of: dict[LeafPath, list[Part]] = {
        ("embedding",): [Part((), _plain("model.embed_tokens.weight", config.vocabulary, config.width))],
        ("final_norm", "scale"): [Part((), _plain("model.norm.weight", config.width))],
    }
    if not config.tied:
        parts_of["head",] = [Part((), _linear("lm_head.weight", config.width, config.vocabulary))]
    for number, layer in enumerate(config.each_layer()):
        for path, part in _block(config, layer.kind, f"model.layers.{number}"):
            whole = (layer.stack, layer.block, *path)
            parts_of.setdefault(whole, []).append(Part((layer.index, *part.place), part.tensor))
    for index in range(config.multi_token):
        for path, part in _multi_token(config, index):
            parts_of.setdefault((multi_token_name(index), *path), []).append(part)
    return parts_of


def copies(config: ModelConfig) -> dict[str, str]:
    """Tensors that repeat another one's values: they aren't read, and are written for those who look for them."""
    sources = {}
    for index in range(config.multi_token):
        at = f"model.layers.{config.layers + index}"
        sources[f"{at}.embed_tokens.weight"] = "model.embed_tokens.weight"
        sources[f"{at}.shared_head.head.weight"] = "model.embed_tokens.weight" if config.tied else "lm_head.weight"
    return sources


def is_stacked(path: LeafPath) -> bool:
    """Whether a leaf has a leading axis of layers."""
    return path[0].startswith(stack_name(0).removesuffix("0"))


def leaf(tree: Mapping[str, Any], path: LeafPath) -> Any:
    """What lies at ``path`` in a nested dict."""
    for name in path:
        tree = tree[name]
    return tree
