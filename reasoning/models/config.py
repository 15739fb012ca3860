"""The settings of a decoder; families differ by these fields, never by a class of their own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Index, NonNegative, OptionalSize, Positive, Size

_MOST_LAYERS = 2_000
"""Layers are listed one by one, so their number is bounded before any of it."""

_Record = TypeVar("_Record")

_LARGEST_NUMBER = 2**53
"""What a number in a file stays below."""

Activation = Literal["swiglu", "geglu", "clamped_swiglu", "relu2"]


@dataclass(frozen=True)
class Rope:
    """Rotary positions (RoFormer, arXiv 2104.09864), and how a family stretches them past the context it began with.

    ``linear`` divides positions by ``factor`` (arXiv 2306.15595); ``llama3`` divides the slow frequencies only (Llama
    3.1's release); ``yarn`` blends both by how often a frequency turns within the original context (arXiv 2309.00071)
    and multiplies cosines and sines by ``attention_factor``.
    """

    base: Positive = 10_000.0
    scaling: Literal["none", "linear", "llama3", "yarn"] = "none"
    factor: Positive = 1.0
    original_context: OptionalSize = 0  # llama3, yarn: the context before it was stretched
    low_frequency: Positive = 1.0  # llama3: slower than this many turns in the original context is divided whole …
    high_frequency: Positive = 4.0  # … and faster than this many not at all
    beta_fast: Positive = 32.0  # yarn: as high_frequency
    beta_slow: Positive = 1.0  # yarn: as low_frequency
    truncate: bool = True  # yarn: the blend begins and ends at whole channels
    attention_factor: Positive = 1.0  # yarn

    def __post_init__(self) -> None:
        if self.scaling in ("llama3", "yarn") and not self.original_context:
            raise InputError(f"rope scaling {self.scaling!r} needs original_context, the context before stretching")
        if self.high_frequency <= self.low_frequency or self.beta_fast <= self.beta_slow:
            raise InputError("high_frequency must be above low_frequency, and beta_fast above beta_slow")


@dataclass(frozen=True)
class MoE:
    """A mixture of small experts in place of a block's MLP; no token is ever dropped.

    ``softmax``: probabilities over all experts, the highest are taken (Qwen3-MoE, arXiv 2505.09388). ``sigmoid``: each
    expert has a score of its own, and a bias that only decides who is chosen keeps the load even (DeepSeek-V3, arXiv
    2412.19437, eq. 12 to 16); experts may be chosen within the best ``active_groups`` of ``groups`` only.
    """

    experts: Size
    active: Size  # experts a token
    mlp_width: Size  # hidden width of one expert
    shared: OptionalSize = 0  # experts that every token takes, beside the chosen ones
    router: Literal["softmax", "sigmoid"] = "softmax"
    biases: bool = False  # gpt-oss: the router and the experts' matrices have biases
    renormalise: bool = True  # the chosen experts' weights sum to one …
    scale: Positive = 1.0  # … and are multiplied by this
    groups: Count = 1
    active_groups: Count = 1
    balance_loss: NonNegative = 0.0  # coefficient of the sequence-wise balance loss (arXiv 2412.19437, eq. 17 to 20)
    bias_rate: NonNegative = 0.0  # sigmoid: what a step adds to or takes from an expert's bias (arXiv 2408.15664)

    def __post_init__(self) -> None:
        if self.active > self.experts:
            raise InputError(f"{self.active} active experts are more than there are, {self.experts}; lower active")
        if self.experts % self.groups or not self.active_groups <= self.groups:
            raise InputError(
                f"{self.experts} experts can't be chosen from {self.active_groups} of {self.groups} groups; make "
                "groups a divisor of experts and active_groups at most groups"
            )
        if self.active > self.active_groups * (self.experts // self.groups):
            raise InputError(f"{self.active_groups} groups hold fewer experts than the {self.active} active ones")
        if self.router == "sigmoid" and self.biases:
            raise InputError("biases belong to the softmax router; leave them at False")
        if self.router == "softmax" and (self.groups > 1 or self.bias_rate):
            raise InputError("groups and bias_rate belong to the sigmoid router; leave them at their defaults")


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, eq. 9 to 19): keys and values come from one vector.

    The cache holds that vector (``kv_lora_rank`` numbers) and one rotary key a token. Names are Hugging Face's.
    """

    kv_lora_rank: Size
    q_lora_rank: OptionalSize = 0  # 0: queries come from the hidden state directly
    qk_nope_head_dim: Size = 128  # channels of a query and key without position …
    qk_rope_head_dim: Size = 64  # … and with
    v_head_dim: Size = 128

    def __post_init__(self) -> None:
        if self.qk_rope_head_dim % 2:
            raise InputError(f"qk_rope_head_dim {self.qk_rope_head_dim} is odd, but rotary needs pairs; make it even")

    @property
    def qk_head_dim(self) -> int:
        """Channels of a query and a key, without and with position."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim


@dataclass(frozen=True)
class BlockKind:
    """What one block of a stack is made of; unset fields are the model's."""

    activation: Activation = "swiglu"  # see models.mlp.activate
    window: OptionalSize = 0  # sliding-window attention: the token itself and window - 1 before it; 0: all of them
    rope: Rope | None = None
    moe: MoE | None = None


@dataclass(frozen=True)
class Stack:
    """``count`` repetitions of a pattern of blocks, traced once and scanned over."""

    count: Size
    pattern: tuple[BlockKind, ...] = (BlockKind(),)

    def __post_init__(self) -> None:
        if not self.pattern:
            raise InputError("a stack's pattern is empty; name at least one block kind")

    def runs(self) -> tuple[tuple[BlockKind, int], ...]:
        """The pattern as kinds and how many blocks of a kind follow each other; each run is compiled as one block."""
        return tuple((kind, len(tuple(same))) for kind, same in groupby(self.pattern))


@dataclass(frozen=True)
class Layer:
    """Where the parameters of one layer lie: ``params[stack][block]``, at ``index`` of each leaf's leading axis."""

    stack: str
    block: str
    index: int
    kind: BlockKind


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of a decoder with rotary positions and grouped-query or latent attention."""

    vocabulary: Size  # rows of the embedding; at least the tokenizer's size
    width: Size
    heads: Size
    mlp_width: Size  # hidden width of a block's MLP
    stacks: tuple[Stack, ...]
    context: Size  # the longest sequence the model may see
    kv_heads: OptionalSize = 0  # 0: as many as heads
    head_dim: OptionalSize = 0  # 0: width / heads
    latent: Latent | None = None  # DeepSeek: in place of grouped-query attention
    qkv_bias: bool = False  # Qwen2
    output_bias: bool = False  # gpt-oss: of attention's output
    sinks: bool = False  # gpt-oss: a learnt score a head that takes weight from the keys (arXiv 2309.17453, eq. 2)
    query_key_norm: Literal["none", "head", "all"] = "none"  # of each head (Qwen3, Gemma 3), of all together (OLMo 2)
    attention_scale: NonNegative = 0.0  # 0: one over the root of a query's size
    attention_soft_cap: NonNegative = 0.0  # Gemma 2: scores s become cap * tanh(s / cap); 0: they stay
    logit_soft_cap: NonNegative = 0.0  # Gemma 2: the same for logits
    norms: Literal["before", "after", "both"] = "before"  # of attention's and MLP's input, of their output (OLMo 2) …
    norm_offset: bool = False  # Gemma: a norm's scale is stored as its distance from one
    norm_epsilon: Positive = 1e-6
    tied: bool = False  # the unembedding is the embedding, transposed
    scaled_embedding: bool = False  # Gemma: embeddings are multiplied by the root of the width
    learned_positions: bool = False  # added to the embeddings, beside the rotary ones
    rope: Rope = Rope()
    multi_token: Index = 0  # DeepSeek: blocks that predict the tokens after the next (arXiv 2412.19437, section 2.2) …
    multi_token_coefficient: NonNegative = 0.3  # … and the weight of their loss, λ
    embedding_std: Positive = 0.02
    head_scale: Positive = 1.0  # the unembedding starts with standard deviation head_scale / sqrt(width)
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    # What backward recomputes: norms and activations; blocks; all but matmuls; or blocks whose inputs wait in the
    # host's memory.
    remat: Literal["none", "block", "dots", "offload"] = "none"

    def __post_init__(self) -> None:
        if self.head_dim == 0 and self.width % self.heads:
            raise InputError(f"width {self.width} is not a multiple of heads {self.heads}; change one or set head_dim")
        if self.heads % self.key_heads:
            raise InputError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}; change one of them")
        if self.head_size % 2:
            raise InputError(f"head_dim {self.head_size} is odd, and rotary positions need pairs; make it even")
        if not self.stacks:
            raise InputError("stacks is empty; name at least one stack of blocks")
        check_layers(self.layers + self.multi_token)
        beside = self.qkv_bias or self.output_bias or self.sinks or self.query_key_norm != "none"
        if self.latent is not None and beside:
            raise InputError(
                "latent attention has norms of its own, and neither biases nor sinks; leave qkv_bias, output_bias, "
                "sinks and query_key_norm"
            )

    @property
    def head_size(self) -> int:
        """Numbers per attention head."""
        return self.head_dim or self.width // self.heads

    @property
    def key_heads(self) -> int:
        """Heads of keys and values; each serves heads / key_heads query heads."""
        return self.kv_heads or self.heads

    @property
    def query_size(self) -> int:
        """Numbers of a query that meet a key's."""
        return self.head_size if self.latent is None else self.latent.qk_head_dim

    @property
    def score_scale(self) -> float:
        """What the product of a query and a key is multiplied by."""
        return self.attention_scale or self.query_size**-0.5

    @property
    def rotary_size(self) -> int:
        """Channels of a head that are rotated by position."""
        return self.head_size if self.latent is None else self.latent.qk_rope_head_dim

    @property
    def layers(self) -> int:
        """Blocks in all stacks together."""
        return sum(stack.count * len(stack.pattern) for stack in self.stacks)

    def kinds(self) -> Iterator[BlockKind]:
        """The kind of each block, first to last."""
        for stack in self.stacks:
            yield from stack.pattern * stack.count

    def each_layer(self) -> Iterator[Layer]:
        """Every layer, first to last."""
        for number, stack in enumerate(self.stacks):
            for repeat in range(stack.count):
                for run, (kind, length) in enumerate(stack.runs()):
                    for place in range(length):
                        yield Layer(stack_name(number), block_name(run), repeat * length + place, kind)


def check_layers(count: int) -> None:
    """Raises InputError for more layers than can be listed; called before anything lists them."""
    if count > _MOST_LAYERS:
        raise InputError(f"the stacks have {count:,} blocks; at most {_MOST_LAYERS:,} can be built")


def stacks_of(kinds: Sequence[BlockKind]) -> tuple[Stack, ...]:
    """Layers as stacks of repeated patterns of up to 16: from the first on, the shortest that reaches furthest."""
    stacks, rest = [], tuple(kinds)
    while rest:
        best = (0, 0)
        for size in range(1, min(16, len(rest)) + 1):
            count = 1
            while rest[count * size : (count + 1) * size] == rest[:size]:
                count += 1
            if (count > 1 or size == 1) and count * size > best[0] * best[1]:
                best = (count, size)
        stacks.append(Stack(best[0], rest[: best[1]]))
        rest = rest[best[0] * best[1] :]
    return tuple(stacks)


def stack_name(index: int) -> str:
    """What a decoder's parameters call its stack number ``index``."""
    return f"stack_{index}"


def block_name(index: int) -> str:
    """What a stack's parameters call the blocks of run number ``index`` of its pattern."""
    return f"block_{index}"


def to_json(config: ModelConfig) -> dict[str, Any]:
    """The config as plain values, for the file that lies beside a checkpoint."""
    return asdict(config)


def from_json(values: Mapping[str, Any]) -> ModelConfig:
    """The config that ``to_json`` wrote; InputError where a value doesn't fit."""
    try:
        stacks = tuple(
            _read(Stack, {**stack, "pattern": tuple(_block_kind(kind) for kind in stack["pattern"])})
            for stack in values["stacks"]
        )
        latent = None if values.get("latent") is None else _read(Latent, values["latent"])
        rope = _read(Rope, values.get("rope", {}))
        return _read(ModelConfig, {**values, "stacks": stacks, "latent": latent, "rope": rope})
    except (KeyError, TypeError) as error:
        raise InputError(f"this is not the description of a model: {error}; write the checkpoint anew") from error


def _block_kind(values: Mapping[str, Any]) -> BlockKind:
    rope, moe = values.get("rope"), values.get("moe")
    inner = {"rope": rope if rope is None else _read(Rope, rope), "moe": moe if moe is None else _read(MoE, moe)}
    return _read(BlockKind, {**values, **inner})


def _read(kind: type[_Record], values: Mapping[str, Any]) -> _Record:
    """A record of plain values and of records read before. Raises InputError for values out of a field's range."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name in values:
            complaint = _complaint(hint, values[name])
            if complaint is not None:
                raise InputError(f"{name} is {values[name]!r:.60}, and {complaint}; write the checkpoint anew")
    return kind(**values)


def _complaint(hint: Any, value: Any) -> str | None:
    """What is wrong with a plain value of a field, or None; records within are right by themselves."""
    if hint is bool or get_origin(hint) is Literal:
        allowed = (False, True) if hint is bool else get_args(hint)
        return None if type(value) is type(allowed[0]) and value in allowed else f"must be one of {allowed}"
    if get_origin(hint) is not Annotated:
        return None
    whole, bounds = get_args(hint)[0] is int, hint.__metadata__[0]
    if type(value) not in ((int,) if whole else (int, float)) or not abs(value) < _LARGEST_NUMBER:
        return f"must be a {'whole ' if whole else ''}number"
    return bounds.complaint(value)
