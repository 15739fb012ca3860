"""Makes the checkpoint in ``multi_token/deepseek_v3``: with the layer that predicts the token after the next.

As ``make_golden.py``, whose ``deepseek_v3`` it is otherwise; run it as

    python tests/models/parity/make_multi_token.py

The layer's tensors are saved under the names of DeepSeek's own files, copies of embedding and head included.
"""

import re

import make_golden
import numpy as np
import safetensors.torch
import torch
from transformers.modeling_layers import MtpModel

SEED = 100
CASE = make_golden.Case("DeepseekV3", {**make_golden.DEEPSEEK, "num_mtp_layers": 1})


def predicted(model, layer, tokens):
    """Logits [T - 1, V] for the token after the next one, from the model's states and each next token."""
    with torch.no_grad():
        hidden = model.model(torch.tensor(tokens[None])).last_hidden_state[:, :-1]
        embedded = model.model.embed_tokens(torch.tensor(tokens[None, 1:]))
        order = torch.arange(1, len(tokens))[None]
        mask = torch.full((1, 1, len(tokens) - 1, len(tokens) - 1), -torch.inf).triu(1)
        angles = model.model.rotary_emb(hidden, order)
        states = layer(embedded, hidden, angles, mask, order, None)
        return model.lm_head(states)[0].double()


def officially_named(layer):
    """The layer's tensors as DeepSeek's files have them: after the last layer, experts one by one."""
    found = {}
    for name, tensor in layer.state_dict().items():
        name = name.removeprefix("mtp_block.").replace("post_norm.", "shared_head.norm.")
        if name == "mlp.experts.gate_up_proj":
            for expert, both in enumerate(tensor):
                gate, up = both.chunk(2)
                found[f"mlp.experts.{expert}.gate_proj.weight"] = gate
                found[f"mlp.experts.{expert}.up_proj.weight"] = up
        elif name == "mlp.experts.down_proj":
            found |= {f"mlp.experts.{expert}.down_proj.weight": down for expert, down in enumerate(tensor)}
        else:
            found[name] = tensor
    return found


def main():
    """Writes the folder."""
    model = make_golden.build(CASE, SEED)
    layer = MtpModel(model, 1).layers[0].float().eval()
    make_golden.randomise(layer, CASE, torch.Generator().manual_seed(SEED + 1), "layers.")
    random = np.random.default_rng(SEED)
    tokens = random.integers(3, 160, make_golden.LENGTH).astype(np.int32)
    columns = np.sort(random.choice(160, make_golden.COLUMNS, replace=False)).astype(np.int32)
    truth = make_golden.told(predicted(model, layer, tokens), columns)
    folder = make_golden.HERE / "multi_token" / "deepseek_v3"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "golden.npz", tokens=tokens, columns=columns, **truth)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    at = f"model.layers.{model.config.num_hidden_layers}"
    extra = {f"{at}.{name}": tensor.to(torch.bfloat16) for name, tensor in officially_named(layer).items()}
    extra[f"{at}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
    extra[f"{at}.shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    assert not any(re.search("gate_up|post_norm|mtp", name) for name in extra)
    extra = {name: tensor.contiguous() for name, tensor in extra.items()}
    safetensors.torch.save_file({**tensors, **extra}, folder / "model.safetensors", metadata={"format": "pt"})
    print(sorted(name.removeprefix(f"{at}.") for name in extra if "experts." not in name))


if __name__ == "__main__":
    main()
