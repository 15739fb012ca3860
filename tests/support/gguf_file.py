"""Tiny GGUF files, made with the gguf package's own writer: a Llama-type model with a byte-level tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tokenizers

WIDTH, HEADS, KEY_HEADS, MLP, LAYERS, VOCABULARY = 64, 4, 2, 96, 2, 264
SHAPES = {
    "token_embd.weight": (VOCABULARY, WIDTH),
    "output_norm.weight": (WIDTH,),
    **{
        f"blk.{layer}.{name}.weight": shape
        for layer in range(LAYERS)
        for name, shape in {
            "attn_norm": (WIDTH,),
            "ffn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (KEY_HEADS * WIDTH // HEADS, WIDTH),
            "attn_v": (KEY_HEADS * WIDTH // HEADS, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (MLP, WIDTH),
            "ffn_up": (MLP, WIDTH),
            "ffn_down": (WIDTH, MLP),
        }.items()
    },
}


def write(
    path: Path,
    kind: str = "F32",
    architecture: str = "llama",
    context_length: int = 32,
    fields: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, np.ndarray]:
    """A tiny model; ``changes`` replace tensors and ``fields`` metadata (None leaves one out).

    Gives the values that the file stands for.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(context_length)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    add_tokenizer(writer)
    for name, value in (fields or {}).items():
        writer.kv_data[0].pop(name, None)
        if value is not None:
            kind_of = gguf.GGUFValueType.UINT32 if type(value) is int else gguf.GGUFValueType.get_type(value)
            writer.add_key_value(name, value, kind_of)
    random, held = np.random.default_rng(0), {}
    for name, shape in SHAPES.items():
        values = random.normal(size=shape).astype(np.float32)
        values = changes.get(name.replace(".", "_"), values)
        if values is None:
            continue
        quantised = gguf.GGMLQuantizationType[kind if values.ndim == 2 else "F32"]
        stored = gguf.quants.quantize(values, quantised)
        held[name] = gguf.quants.dequantize(stored, quantised).reshape(values.shape)
        writer.add_tensor(name, stored, raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


MERGES = ("t h", "th e", "\u0120 the", "1 2")
SYMBOLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tokens() -> list[str]:
    """Three symbols, 256 bytes as GPT-2 spells them, and what the merges make; one row of the model stays unused."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    return [*SYMBOLS, *alphabet, *("".join(merge.split(" ")) for merge in MERGES)]


def add_tokenizer(writer: gguf.GGUFWriter) -> None:
    """The tokenizer's fields, as llama.cpp's converter writes them for SmolLM2."""
    written = tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(written)
    writer.add_token_types([3 if token in SYMBOLS else 1 for token in written])
    writer.add_token_merges(list(MERGES))
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
