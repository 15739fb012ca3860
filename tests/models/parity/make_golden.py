"""Makes the tiny checkpoints of this folder and what transformers computes with them; checks our exports by the same.

Needs the extra ``parity`` (torch, transformers) and nothing of this package, so that it is a second opinion:

    python tests/models/parity/make_golden.py make             # writes one folder for each checkpoint, beside this file
    python tests/models/parity/make_golden.py check OUT NAME   # OUT, an export of NAME, gives NAME's numbers?

A checkpoint has random weights whose values its dtype holds exactly; norms and biases are random too, since ones and
zeros would hide mistakes. All is computed in float32. ``golden.npz`` holds one sequence's tokens and, at each of its
places, the argmax, the log-sum-exp and 64 logits. ``old/config.json`` is the config as transformers 4 wrote it.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
LENGTH = 40  # past every sliding window (8) and every original context (16) below
COLUMNS = 64
TOLERANCE = 1e-5

Json = dict[str, Any]


def nothing(config: Json) -> None:
    """Leaves an old config as it is."""


@dataclass(frozen=True)
class Case:
    """One checkpoint: the class of its config, settings of it, and how it is stored."""

    kind: str
    settings: Json = field(default_factory=dict)
    dtype: str = "bfloat16"
    shard_size: str = "1GB"
    old: bool = False  # also write the config in the dialect of transformers 4
    to_old: Callable[[Json], None] = nothing


SMALL: Json = {
    "vocab_size": 160,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3: Json = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN: Json = {
    "rope_type": "yarn",
    "rope_theta": 1000.0,  # small, so that some frequencies lie between the two betas
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
DEEPSEEK: Json = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 16,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 2,
    "routed_scaling_factor": 2.5,
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 16,
    "v_head_dim": 10,
    "num_mtp_layers": 0,
    "rope_parameters": {
        **YARN,
        "rope_theta": 100.0,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 0.7,
        "mscale_all_dim": 1.0,
    },
}


def olmo3_to_old(config: Json) -> None:
    """OLMo 3's stretching, which is that of the layers that see everything."""
    rope = config.pop("rope_parameters")["full_attention"]
    config["rope_theta"], config["rope_scaling"] = rope.pop("rope_theta"), rope


def gemma3_to_old(config: Json) -> None:
    """Gemma 3's two bases and its pattern under their first names."""
    ropes = config.pop("rope_parameters")
    config["rope_local_base_freq"] = ropes["sliding_attention"]["rope_theta"]
    config["rope_theta"] = ropes["full_attention"].pop("rope_theta")
    config["rope_scaling"] = ropes["full_attention"]
    config["sliding_window_pattern"] = config.pop("_sliding_window_pattern", 6)


CASES: dict[str, Case] = {
    "llama3": Case("Llama", {"rope_parameters": LLAMA3, "rms_norm_eps": 1e-5}, shard_size="40KB", old=True),
    "smollm2": Case(
        "Llama",
        {
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        },
        old=True,
    ),
    "qwen2": Case(
        "Qwen2",
        {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
        old=True,
    ),
    "qwen2_yarn": Case(
        "Qwen2",
        {
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {**YARN, "beta_fast": 2.0, "beta_slow": 0.5, "truncate": False},
        },
        old=True,
    ),
    "qwen2_window": Case(
        "Qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, dtype="float16"
    ),
    "qwen3": Case("Qwen3", {"head_dim": 12, "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}),
    "qwen3_moe": Case(
        "Qwen3Moe",
        {
            "head_dim": 16,
            "moe_intermediate_size": 24,
            "num_experts": 8,
            "num_experts_per_tok": 3,
            "norm_topk_prob": True,
            "mlp_only_layers": [0],
        },
        old=True,
    ),
    "deepseek_v3": Case("DeepseekV3", DEEPSEEK, old=True),
    "deepseek_v3_plain": Case("DeepseekV3", {**DEEPSEEK, "q_lora_rank": None, "n_group": 1, "topk_group": 1}),
    "gemma": Case("Gemma", {"head_dim": 16, "num_key_value_heads": 1}, old=True),
    "gemma2": Case(
        "Gemma2",
        {
            "head_dim": 16,
            "num_hidden_layers": 4,
            "sliding_window": 8,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
        old=True,
    ),
    "gemma3": Case(
        "Gemma3Text",
        {
            "head_dim": 16,
            "num_hidden_layers": 8,
            "sliding_window": 8,
            "query_pre_attn_scalar": 24,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
        old=True,
        to_old=gemma3_to_old,
    ),
    "mistral": Case("Mistral", {"sliding_window": 8, "head_dim": 12}, old=True),
    "olmo2": Case("Olmo2", {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}, dtype="float32"),
    "olmo3": Case(
        "Olmo3",
        {
            "num_hidden_layers": 8,
            "sliding_window": 8,
            "rope_parameters": {
                "full_attention": {**YARN, "rope_theta": 500000.0, "attention_factor": 1.2},
                "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
            },
        },
        old=True,
        to_old=olmo3_to_old,
    ),
    "gpt_oss": Case(
        "GptOss",
        {
            "head_dim": 16,
            "num_hidden_layers": 4,
            "sliding_window": 8,
            "intermediate_size": 32,
            "num_local_experts": 8,
            "num_experts_per_tok": 3,
            "rope_parameters": {**YARN, "beta_fast": 2.0, "beta_slow": 0.5, "truncate": False},
        },
        old=True,
    ),
}


def build(case: Case, seed: int) -> Any:
    """A model in float32 whose every parameter is random and exactly representable in the case's dtype."""
    config = getattr(transformers, f"{case.kind}Config")(**{**SMALL, **case.settings})
    config.architectures = [f"{case.kind.removesuffix('Text')}ForCausalLM"]
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    randomise(model, case, torch.Generator().manual_seed(seed), "")
    model.tie_weights()
    return model


def randomise(module: Any, case: Case, generator: torch.Generator, prefix: str) -> None:
    """Fills all parameters and buffers of a module, whose names in the model begin with ``prefix``."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad():
        for name, tensor in tensors.items():
            if "inv_freq" in name or "embed_scale" in name:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if "e_score_correction_bias" in name:
                value = 0.2 * noise
            elif "sinks" in name:
                value = noise
            elif "gate_up_proj" in name:
                value = 6.0 * noise * tensor.shape[-1] ** -0.5  # so that gpt-oss's bounds of 7 are met
            elif tensor.ndim == 1:
                value = 0.3 * noise + ("norm" in name and not case.kind.startswith("Gemma"))
            else:
                value = noise * (0.8 if "layers" in prefix + name else 1.0) * tensor.shape[-1] ** -0.5
            tensor.copy_(value.to(getattr(torch, case.dtype)).float())


def numbers(model: Any, tokens: np.ndarray, columns: np.ndarray) -> dict[str, np.ndarray]:
    """What is compared of a sequence's logits."""
    with torch.no_grad():
        return told(model(torch.tensor(tokens[None])).logits[0].double(), columns)


def told(logits: torch.Tensor, columns: np.ndarray) -> dict[str, np.ndarray]:
    """At each place the argmax, the log-sum-exp and some logits."""
    return {
        "argmax": logits.argmax(-1).int().numpy(),
        "log_sum_exp": torch.logsumexp(logits, -1).float().numpy(),
        "logits": logits[:, torch.tensor(columns)].float().numpy(),
    }


def old_dialect(config: Json, case: Case) -> Json:
    """The config as transformers 4 wrote it: base and scaling of the rotary positions apart, no layer types."""
    old = {key: value for key, value in config.items() if key not in ("layer_types", "dtype", "transformers_version")}
    old["torch_dtype"] = config["dtype"]
    old["transformers_version"] = "4.44.0"
    if "num_local_experts" in old and case.kind == "Qwen3Moe":
        old["num_experts"] = old.pop("num_local_experts")
    case.to_old(old)
    rope = old.pop("rope_parameters", None)
    if rope is not None:
        old["rope_theta"] = rope.pop("rope_theta")
        kind = rope.pop("rope_type")
        old["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    return old


def make(name: str, case: Case, seed: int) -> None:
    """Writes one checkpoint and its numbers, and makes sure that the old dialect means the same to transformers."""
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    for path in folder.rglob("*.*"):
        path.unlink()
    model = build(case, seed)
    random = np.random.default_rng(seed)
    vocabulary = model.config.vocab_size
    tokens = random.integers(3, vocabulary, LENGTH).astype(np.int32)
    columns = np.sort(random.choice(vocabulary, COLUMNS, replace=False)).astype(np.int32)
    truth = numbers(model, tokens, columns)
    np.savez_compressed(folder / "golden.npz", tokens=tokens, columns=columns, **truth)
    model.to(getattr(torch, case.dtype)).save_pretrained(folder, max_shard_size=case.shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)
    compare(folder, folder, name)
    if case.old:
        config = json.loads((folder / "config.json").read_text())
        (folder / "old").mkdir(exist_ok=True)
        (folder / "old" / "config.json").write_text(json.dumps(old_dialect(config, case), indent=2) + "\n")
        compare(folder, folder / "old", f"{name}, old dialect")


def compare(weights: Path, golden: Path, what: str) -> None:
    """Prints how far the checkpoint in ``weights`` is from the numbers of ``golden``; exits where that is too far."""
    config = transformers.AutoConfig.from_pretrained(golden if golden.name == "old" else weights)
    golden = golden.parent if golden.name == "old" else golden
    model = transformers.AutoModelForCausalLM.from_pretrained(weights, config=config, attn_implementation="eager")
    model = model.float().eval()  # exact, whatever the dtype that it was loaded in; its keyword differs by version
    with np.load(golden / "golden.npz") as saved:
        truth = dict(saved)
    found = numbers(model, truth["tokens"], truth["columns"])
    scale = np.maximum(1.0, np.abs(truth["logits"]))
    distance = float(np.max(np.abs(found["logits"] - truth["logits"]) / scale))
    distance = max(distance, float(np.max(np.abs(found["log_sum_exp"] - truth["log_sum_exp"]))))
    same = bool((found["argmax"] == truth["argmax"]).all())
    spread = float(truth["logits"].std())
    print(f"{what}: distance {distance:.1e}, argmax {'equal' if same else 'DIFFERENT'}, logits' spread {spread:.2f}")
    if distance > TOLERANCE or not same:
        sys.exit(f"{what}: {weights} doesn't give the numbers of {golden}")


def main(arguments: list[str]) -> None:
    """``make [NAME …]`` or ``check FOLDER NAME``."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if arguments[:1] == ["make"]:
        for seed, (name, case) in enumerate(CASES.items()):
            if arguments[1:] in ([], [name]):
                make(name, case, seed)
    elif arguments[:1] == ["check"] and len(arguments) == 3:
        compare(Path(arguments[1]), HERE / arguments[2], arguments[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
