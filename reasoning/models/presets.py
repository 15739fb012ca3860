"""The official sizes of the models that R1 touches and of their neighbours, for training from scratch and for planning.

In an experiment file they are parts whose fields can be set, ``student = @models.presets.QWEN2_5_0_5B`` and then
``student.compute_dtype = 'bfloat16'``; in Python they are records for ``dataclasses.replace``. Contexts are those of
the ``config.json`` files of the base models.
"""

import math
from dataclasses import replace

from reasoning.models.config import BlockKind, Latent, ModelConfig, MoE, Rope, Stack

# Qwen2.5 (arXiv 2412.15115), which R1 was distilled into.
QWEN2_5_0_5B = ModelConfig(
    vocabulary=151_936,
    width=896,
    heads=14,
    kv_heads=2,
    mlp_width=4864,
    stacks=(Stack(24),),
    context=32_768,
    qkv_bias=True,
    tied=True,
    rope=Rope(1e6),
)
QWEN2_5_1_5B = replace(QWEN2_5_0_5B, width=1536, heads=12, mlp_width=8960, stacks=(Stack(28),), context=131_072)
QWEN2_5_7B = replace(QWEN2_5_1_5B, vocabulary=152_064, width=3584, heads=28, kv_heads=4, mlp_width=18_944, tied=False)
QWEN2_5_14B = replace(
    QWEN2_5_7B, width=5120, heads=40, kv_heads=8, mlp_width=13_824, stacks=(Stack(48),), norm_epsilon=1e-5
)
QWEN2_5_32B = replace(QWEN2_5_14B, mlp_width=27_648, stacks=(Stack(64),))

# Qwen3 (arXiv 2505.09388).
QWEN3_0_6B = ModelConfig(
    vocabulary=151_936,
    width=1024,
    heads=16,
    kv_heads=8,
    head_dim=128,
    mlp_width=3072,
    stacks=(Stack(28),),
    context=40_960,
    query_key_norm="head",
    tied=True,
    rope=Rope(1e6),
)
QWEN3_1_7B = replace(QWEN3_0_6B, width=2048, mlp_width=6144)
QWEN3_4B = replace(QWEN3_0_6B, width=2560, heads=32, mlp_width=9728, stacks=(Stack(36),))
QWEN3_8B = replace(QWEN3_4B, width=4096, mlp_width=12_288, tied=False)
QWEN3_14B = replace(QWEN3_8B, width=5120, heads=40, mlp_width=17_408, stacks=(Stack(40),))
QWEN3_32B = replace(QWEN3_14B, heads=64, mlp_width=25_600, stacks=(Stack(64),))
QWEN3_30B_A3B = replace(
    QWEN3_8B,
    width=2048,
    kv_heads=4,
    mlp_width=6144,
    stacks=(Stack(48, (BlockKind(moe=MoE(experts=128, active=8, mlp_width=768)),)),),
)

# Llama 3.1 (arXiv 2407.21783), 3.2 and 3.3; R1 was distilled into 3.1 8B and 3.3 70B.
LLAMA_3_1_8B = ModelConfig(
    vocabulary=128_256,
    width=4096,
    heads=32,
    kv_heads=8,
    head_dim=128,
    mlp_width=14_336,
    stacks=(Stack(32),),
    context=131_072,
    norm_epsilon=1e-5,
    rope=Rope(500_000.0, "llama3", factor=8.0, original_context=8192),
)
LLAMA_3_3_70B = replace(LLAMA_3_1_8B, width=8192, heads=64, mlp_width=28_672, stacks=(Stack(80),))
LLAMA_3_2_3B = replace(
    LLAMA_3_1_8B,
    width=3072,
    heads=24,
    mlp_width=8192,
    stacks=(Stack(28),),
    tied=True,
    rope=replace(LLAMA_3_1_8B.rope, factor=32.0),
)
LLAMA_3_2_1B = replace(LLAMA_3_2_3B, width=2048, heads=32, head_dim=64, stacks=(Stack(16),))

# SmolLM2 (arXiv 2502.02737).
SMOLLM2_135M = ModelConfig(
    vocabulary=49_152,
    width=576,
    heads=9,
    kv_heads=3,
    mlp_width=1536,
    stacks=(Stack(30),),
    context=8192,
    norm_epsilon=1e-5,
    tied=True,
    rope=Rope(100_000.0),
)
SMOLLM2_360M = replace(SMOLLM2_135M, width=960, heads=15, kv_heads=5, mlp_width=2560, stacks=(Stack(32),))
SMOLLM2_1_7B = replace(
    SMOLLM2_135M, width=2048, heads=32, kv_heads=32, mlp_width=8192, stacks=(Stack(24),), rope=Rope(130_000.0)
)

# DeepSeek-V3 and R1 (arXiv 2412.19437), without the block that predicts the token after the next: multi_token = 1.
_DEEPSEEK_V3_EXPERTS = MoE(
    experts=256, active=8, mlp_width=2048, shared=1, router="sigmoid", scale=2.5, groups=8, active_groups=4
)
DEEPSEEK_V3 = ModelConfig(
    vocabulary=129_280,
    width=7168,
    heads=128,
    mlp_width=18_432,
    stacks=(Stack(3), Stack(58, (BlockKind(moe=_DEEPSEEK_V3_EXPERTS),))),
    context=163_840,
    latent=Latent(kv_lora_rank=512, q_lora_rank=1536, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128),
    attention_scale=192**-0.5 * (0.1 * math.log(40.0) + 1.0) ** 2,
    rope=Rope(scaling="yarn", factor=40.0, original_context=4096),
)

# Gemma 3 (arXiv 2503.19786), the text decoders: five layers with a sliding window, then one that sees everything.
_GEMMA3_LOCAL = BlockKind("geglu", window=1024, rope=Rope(10_000.0))
_GEMMA3_LOCAL_1B = replace(_GEMMA3_LOCAL, window=512)
_GEMMA3_GLOBAL = BlockKind("geglu")
_GEMMA3_PERIOD = (*(_GEMMA3_LOCAL,) * 5, _GEMMA3_GLOBAL)
GEMMA3_1B = ModelConfig(
    vocabulary=262_144,
    width=1152,
    heads=4,
    kv_heads=1,
    head_dim=256,
    mlp_width=6912,
    stacks=(Stack(4, (*(_GEMMA3_LOCAL_1B,) * 5, _GEMMA3_GLOBAL)), Stack(2, (_GEMMA3_LOCAL_1B,))),
    context=32_768,
    query_key_norm="head",
    norms="both",
    norm_offset=True,
    tied=True,
    scaled_embedding=True,
    rope=Rope(1e6),
)
GEMMA3_4B = replace(
    GEMMA3_1B,
    vocabulary=262_208,
    width=2560,
    heads=8,
    kv_heads=4,
    mlp_width=10_240,
    stacks=(Stack(5, _GEMMA3_PERIOD), Stack(4, (_GEMMA3_LOCAL,))),
    context=131_072,
    rope=Rope(1e6, "linear", factor=8.0),
)
GEMMA3_12B = replace(GEMMA3_4B, width=3840, heads=16, kv_heads=8, mlp_width=15_360, stacks=(Stack(8, _GEMMA3_PERIOD),))
GEMMA3_27B = replace(
    GEMMA3_12B,
    width=5376,
    heads=32,
    kv_heads=16,
    head_dim=128,
    mlp_width=21_504,
    stacks=(Stack(10, _GEMMA3_PERIOD), Stack(2, (_GEMMA3_LOCAL,))),
    attention_scale=(5376 / 32) ** -0.5,
)
