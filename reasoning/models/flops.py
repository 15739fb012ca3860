"""How many floating-point operations a model takes, by the formula that papers compare compute with."""

from reasoning.models.config import BlockKind, ModelConfig
from reasoning.models.mlp import gated


def matmul_parameters(config: ModelConfig) -> int:
    """Parameters that every token is multiplied with: all matrices but the embedding, whose rows are only looked up.

    Of experts those that a token takes, the shared ones among them.
    """
    attention = _attention_parameters(config)
    blocks = sum(attention + _positionwise_parameters(config, kind) for kind in config.kinds())
    return blocks + config.width * config.vocabulary


def _attention_parameters(config: ModelConfig) -> int:
    """Numbers in the matrices of one block's attention."""
    latent = config.latent
    if latent is None:
        return config.width * config.head_size * (2 * config.heads + 2 * config.key_heads)
    if latent.q_lora_rank:
        queries = latent.q_lora_rank * (config.width + config.heads * config.query_size)
    else:
        queries = config.width * config.heads * config.query_size
    down = config.width * (latent.kv_lora_rank + latent.qk_rope_head_dim)
    up = latent.kv_lora_rank * config.heads * (latent.qk_nope_head_dim + latent.v_head_dim)
    return queries + down + up + config.width * config.heads * latent.v_head_dim


def _positionwise_parameters(config: ModelConfig, kind: BlockKind) -> int:
    """Numbers in the matrices of one block's MLP, or of its router and a token's experts."""
    matrices = 3 if gated(kind.activation) else 2
    if kind.moe is None:
        return matrices * config.width * config.mlp_width
    return config.width * (kind.moe.experts + matrices * kind.moe.mlp_width * (kind.moe.active + kind.moe.shared))


def forward_flops(config: ModelConfig, tokens: int, length: int) -> int:
    """Operations to read ``tokens`` tokens in sequences of ``length``: two a parameter, plus attention.

    PaLM (arXiv 2204.02311), appendix B: 2 N + 4 L H Q T a token, with N matrix parameters, L layers, H heads of size Q
    and sequences of T tokens (causal masking isn't taken off). A training step takes three times as many.
    """
    value_size = config.head_size if config.latent is None else config.latent.v_head_dim
    attention = 2 * config.layers * config.heads * (config.query_size + value_size) * length
    return tokens * (2 * matmul_parameters(config) + attention)


def training_flops(config: ModelConfig, adapters: int, tokens: int, length: int) -> int:
    """Operations to train on ``tokens`` tokens: three forward passes, since backward takes two products for each one.

    Of the two the one that gives a weight's gradient falls away for frozen weights, beside ``adapters`` parameters of
    LoRA that train (0: all train).
    """
    whole = 3 * forward_flops(config, tokens, length)
    return whole + tokens * (6 * adapters - 2 * matmul_parameters(config)) if adapters else whole
