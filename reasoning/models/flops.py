"""How many floating-point operations a model takes, by the formula that papers compare compute with."""

from reasoning.models.config import BlockKind, ModelConfig


def matmul_parameters(config: ModelConfig) -> int:
    """Parameters that every token is multiplied with: all matrices but the embedding, whose rows are only looked up."""
    attention = config.width * config.head_size * (2 * config.heads + 2 * config.key_heads)

    def block(kind: BlockKind) -> int:
        return attention + config.width * config.mlp * (3 if kind.activation == "swiglu" else 2)

    blocks = sum(stack.count * sum(block(kind) for kind in stack.pattern) for stack in config.stacks)
    return blocks + config.width * config.vocabulary


def forward_flops(config: ModelConfig, tokens: int, length: int) -> int:
    """Operations to read ``tokens`` tokens in sequences of ``length``: two a parameter, plus attention.

    PaLM (arXiv 2204.02311), appendix B: 2 N + 4 L H Q T a token, with N matrix parameters, L layers, H heads of size Q
    and sequences of T tokens (causal masking isn't taken off). A training step takes three times as many.
    """
    attention = 4 * config.layers * config.heads * config.head_size * length
    return tokens * (2 * matmul_parameters(config) + attention)
