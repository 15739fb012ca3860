"""The settings of a decoder; families differ by these fields, never by a class of their own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Index, Positive


@dataclass(frozen=True)
class BlockKind:
    """What one block of a stack is made of."""

    activation: Literal["swiglu", "relu2"] = "swiglu"  # relu2: squared ReLU without a gate (arXiv 2109.08668)


@dataclass(frozen=True)
class Stack:
    """``count`` repetitions of a pattern of blocks, traced once and scanned over."""

    count: Count
    pattern: tuple[BlockKind, ...] = (BlockKind(),)

    def __post_init__(self) -> None:
        if not self.pattern:
            raise InputError("a stack's pattern is empty; name at least one block kind")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of a pre-norm decoder with rotary positions and grouped-query attention."""

    vocabulary: Count  # rows of the embedding; at least the tokenizer's size
    width: Count
    heads: Count
    mlp: Count
    stacks: tuple[Stack, ...]
    context: Count  # the longest sequence the model may see
    kv_heads: Index = 0  # 0: as many as heads
    head_dim: Index = 0  # 0: width / heads
    qkv_bias: bool = False  # Qwen2
    tied: bool = False  # the unembedding is the embedding, transposed
    learned_positions: bool = False  # added to the embeddings, beside the rotary ones
    rope_base: Positive = 10_000.0
    norm_epsilon: Positive = 1e-6
    embedding_std: Positive = 0.02
    head_scale: Positive = 1.0  # the unembedding starts with standard deviation head_scale / sqrt(width)
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "block", "dots"] = "none"  # what backward recomputes: nothing, blocks, all but matmuls

    def __post_init__(self) -> None:
        if self.head_dim == 0 and self.width % self.heads:
            raise InputError(f"width {self.width} is not a multiple of heads {self.heads}; change one or set head_dim")
        if self.heads % self.key_heads:
            raise InputError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}; change one of them")
        if self.head_size % 2:
            raise InputError(f"head_dim {self.head_size} is odd, and rotary positions need pairs; make it even")
        if not self.stacks:
            raise InputError("stacks is empty; name at least one stack of blocks")

    @property
    def head_size(self) -> int:
        """Numbers per attention head."""
        return self.head_dim or self.width // self.heads

    @property
    def key_heads(self) -> int:
        """Heads of keys and values; each serves heads / key_heads query heads."""
        return self.kv_heads or self.heads

    @property
    def layers(self) -> int:
        """Blocks in all stacks together."""
        return sum(stack.count * len(stack.pattern) for stack in self.stacks)


def to_json(config: ModelConfig) -> dict[str, Any]:
    """The config as plain values, for the file that lies beside a checkpoint."""
    return asdict(config)


def from_json(values: Mapping[str, Any]) -> ModelConfig:
    """The config that ``to_json`` wrote; InputError where a value doesn't fit."""
    try:
        stacks = tuple(
            Stack(stack["count"], tuple(BlockKind(**kind) for kind in stack["pattern"])) for stack in values["stacks"]
        )
        return ModelConfig(**{**values, "stacks": stacks})
    except (KeyError, TypeError) as error:
        raise InputError(f"this is not the description of a model: {error}; write the checkpoint anew") from error
