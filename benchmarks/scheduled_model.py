"""The model and the requests that ``rollouts.py`` and ``grpo_step.py`` give to every engine: replies of known lengths.

A Llama-type model of 10.5 M parameters (8 layers, width 256, MLP 1024, 4 heads, vocabulary 4096, float32), exported by
this project to Hugging Face's format, which every engine reads. Its weights force when a reply ends, so that no engine
need be told, and none can be told otherwise: after token n, up to 128, comes n - 1, and 0 ends a reply. A prompt that
ends in 128 is answered by 128 tokens; one that ends in 200 by a token that is drawn, each of eight equally likely,
which stand for replies of 3 to 128 tokens. Draws differ from engine to engine, so skewed work is told in tokens a
second. Embeddings of those tokens are orthogonal, and the layers, which cost what they always cost, add little to them.
"""

import json
from pathlib import Path

VOCABULARY, WIDTH, MLP, HEADS, LAYERS = 4096, 256, 1024, 4, 8
PROMPT, NEW = 64, 128
CONTEXT = 256
END, FULL, DRAW = 0, NEW, 200
LENGTHS = (3, 5, 8, 12, 18, 28, 50, 128)
"""Of the replies to a prompt that ends in ``DRAW``, all equally likely."""

_COUNTED, _SHARPNESS, _LAYERS_SHARE = NEW + 1, 4.0, 1e-3
_RANDOM_FROM = 1000
"""Prompts are of tokens from here on, but for the last."""


def prompts(count: int, last: int) -> list[list[int]]:
    """Prompts of 64 tokens, all different, that end in ``last``."""
    span = VOCABULARY - _RANDOM_FROM
    return [
        [_RANDOM_FROM + (7919 * (PROMPT * row + place) + 31 * row) % span for place in range(PROMPT - 1)] + [last]
        for row in range(count)
    ]


def check_replies(replies: list[list[int]], last: int) -> int:
    """How many tokens replies have up to their ends; ValueError where one isn't as the weights say."""
    total = 0
    for reply in replies:
        said = reply[: reply.index(END) + 1] if END in reply else reply
        if said != list(range(len(said) - 1, -1, -1)) or len(said) not in (LENGTHS if last == DRAW else (last,)):
            raise ValueError(f"a reply to a prompt that ends in {last} is {said}")
        total += len(said)
    return total


def write_model(folder: Path) -> None:
    """Writes the model, and a tokenizer in which token 7 is the word t7, for those who take texts only."""
    import jax
    import numpy as np

    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.models.formats.checkpoint_writer import export_checkpoint
    from reasoning.models.model import build_model, init_sharded

    config, random = model_config(), np.random.default_rng(0)
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    params = jax.device_get(init_sharded(build_model(config, mesh), mesh, jax.random.key(0)))
    counted = [*range(_COUNTED), DRAW]
    embedding = random.normal(size=(VOCABULARY, WIDTH))
    embedding *= WIDTH**0.5 / np.linalg.norm(embedding, axis=1, keepdims=True)
    embedding[counted] = WIDTH**0.5 * np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0][: len(counted)]
    head = 0.01 * random.normal(size=(WIDTH, VOCABULARY))
    unit = embedding / WIDTH**0.5
    for token in range(1, _COUNTED):
        head[:, token - 1] = _SHARPNESS * unit[token]
    for length in LENGTHS:
        head[:, length - 1] += _SHARPNESS * unit[DRAW]

    def scheduled(path: tuple, leaf: np.ndarray) -> np.ndarray:
        names = [str(getattr(part, "key", part)) for part in path]
        if "embedding" in names:
            return embedding.astype(leaf.dtype)
        if "head" in names:
            return head.astype(leaf.dtype)
        return _LAYERS_SHARE * leaf if names[-1] in ("output", "down") else leaf

    params = jax.tree.map(jax.numpy.asarray, jax.tree.map_with_path(scheduled, params))
    ids = {"bos_token_id": None, "eos_token_id": END, "pad_token_id": END}
    export_checkpoint(folder, config, params, "float32", ids)
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    special = {"eos_token": f"t{END}", "pad_token": f"t{END}"}
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))


def model_config(context: int = CONTEXT):
    """The model as this project describes it."""
    from reasoning.models.config import ModelConfig, Stack

    return ModelConfig(
        vocabulary=VOCABULARY, width=WIDTH, heads=HEADS, mlp_width=MLP, stacks=(Stack(LAYERS),), context=context
    )


def read_model(folder: Path, devices: int):
    """The model, its mesh of so many CPU devices and its parameters, as this project reads what it exported."""
    import jax

    from reasoning.pipeline.devices import keep_freed_memory

    jax.config.update("jax_platforms", "cpu")
    keep_freed_memory()
    jax.config.update("jax_num_cpu_devices", devices)
    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.models.formats.checkpoint_reader import import_checkpoint
    from reasoning.models.model import build_model

    mesh = build_mesh(MeshShape())
    return build_model(model_config(), mesh), mesh, import_checkpoint(folder, model_config(), mesh, "float32")


def tunix_model(folder: Path):
    """The model as Tunix reads it, on one device, and the tokenizer."""
    import jax
    from transformers import AutoTokenizer
    from tunix.models.llama3 import model as llama3
    from tunix.models.llama3 import params as reader

    told = json.loads((folder / "config.json").read_text())
    config = llama3.ModelConfig(
        num_layers=LAYERS,
        vocab_size=VOCABULARY,
        embed_dim=WIDTH,
        hidden_dim=MLP,
        num_heads=HEADS,
        head_dim=WIDTH // HEADS,
        num_kv_heads=HEADS,
        rope_theta=int(told["rope_parameters"]["rope_theta"] if "rope_parameters" in told else told["rope_theta"]),
        norm_eps=told["rms_norm_eps"],
    )
    mesh = jax.make_mesh((1, 1), ("fsdp", "tp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    model = reader.create_model_from_safe_tensors(str(folder), config, mesh, dtype=jax.numpy.float32)
    return model, mesh, AutoTokenizer.from_pretrained(folder)


def _tokenizer() -> dict:
    words = {f"t{token}": token for token in range(VOCABULARY)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": f"t{VOCABULARY - 1}"},
    }


def as_text(tokens: list[int]) -> str:
    """Tokens as the tokenizer reads them."""
    return " ".join(f"t{token}" for token in tokens)
