"""What the first person on an accelerator runs: does it compute what a CPU does, and how fast? One file to send back.

    make tpu-check        # or gpu-check; the same on whatever JAX finds
    python -m benchmarks.first_hour --out first_hour.json [--small]

Each check stands alone: one that fails is told with its traceback, and the others still run. Losses, attention and the
output head are computed twice, by the kernels that the accelerator gets and on the host's CPU, products at the highest
precision on both; what is compared is the largest difference over the largest value. Speeds are at the precision that
runs have. ``--small`` takes sizes for a CPU, where kernels are compared with the plain formulas all the same.
"""

import argparse
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.attention.backends import attention_for, describe_kernels
from reasoning.kernels.attention.rule import Rule
from reasoning.kernels.backends import kernels_for
from reasoning.kernels.token_log_probs import token_log_probs
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model, init_sharded
from reasoning.report.console import say
from reasoning.training.functional import grpo_steps, supervised_steps
from reasoning.training.optimizers import AdamW

CLOSE = 2e-3
"""Of the largest value: some thousand times float32's rounding, a tenth of bfloat16's."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything; ``width`` is of the model, ``channels`` of a head."""

    time: int = 512
    width: int = 1024
    channels: int = 128
    layers: int = 12
    vocabulary: int = 32768
    rows: int = 16
    steps: int = 10
    new_tokens: int = 128
    group: int = 16


SMALL = Sizes(time=64, width=32, channels=16, layers=2, vocabulary=96, rows=4, steps=3, new_tokens=8, group=4)


def model_on(device: Any, sizes: Sizes, layers: int) -> Any:
    """A decoder in float32 on one device."""
    config = ModelConfig(
        vocabulary=sizes.vocabulary,
        width=sizes.width,
        heads=sizes.width // sizes.channels,
        mlp_width=4 * sizes.width,
        stacks=(Stack(layers),),
        context=sizes.time,
    )
    return build_model(config, build_mesh(MeshShape(), [device]))


def weights(sizes: Sizes, layers: int) -> Any:
    """The parameters that every device is given, made on the CPU."""
    cpu = jax.devices("cpu")[0]
    model = model_on(cpu, sizes, layers)
    return jax.device_get(init_sharded(model, model.mesh, jax.random.key(0)))


def examples(sizes: Sizes, steps: int) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Batches of prompts and replies that fill their rows; a reply repeats its prompt, so that there is a rule."""
    random, half = np.random.default_rng(0), sizes.time // 2
    for _ in range(steps):
        texts = random.integers(2, sizes.vocabulary // 4, (sizes.rows, half)).tolist()
        yield [(text, text) for text in texts]


def learnt(device: Any, sizes: Sizes, steps: int, layers: int) -> tuple[list[float], list[float]]:
    """The losses of supervised steps, and the seconds that each took."""
    losses, seconds = [], []
    begun = time.perf_counter()
    given = supervised_steps(
        model_on(device, sizes, layers), weights(sizes, layers), examples(sizes, steps), AdamW(1e-3), steps
    )
    for _, loss in given:
        losses.append(loss)
        seconds.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    return losses, seconds


def compared(name: str, here: Any, there: Any) -> dict[str, Any]:
    """The largest difference of two trees' arrays, over the largest value, and whether it is small."""
    pairs = list(zip(jax.tree.leaves(jax.device_get(here)), jax.tree.leaves(jax.device_get(there)), strict=True))
    worst = max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) for a, b in pairs)
    return {"difference": worst, "ok": bool(np.isfinite(worst) and worst < CLOSE), "of": name}


def losses_are_the_cpus(sizes: Sizes) -> dict[str, Any]:
    """The losses of some steps of training, forward, backward and optimizer, on the accelerator and on the CPU."""
    with jax.default_matmul_precision("highest"):
        here, _ = learnt(jax.devices()[0], sizes, 3, 2)
        there, _ = learnt(jax.devices("cpu")[0], sizes, 3, 2)
    return compared("losses of 3 steps", np.array(here), np.array(there)) | {"here": here, "cpu": there}


def attention_is_the_formula(sizes: Sizes) -> dict[str, Any]:
    """Attention's kernel and its gradients against softmax of all scores on the CPU, grouped heads, packed rows."""
    segments = np.sort(np.random.default_rng(1).integers(1, 4, (2, sizes.time)), axis=1).astype(np.int32)
    place = np.arange(sizes.time)
    read = (place[:, None] >= place[None, :]) & (segments[:, :, None] == segments[:, None, :])
    return _attention(sizes, segments, read, Rule(sizes.channels**-0.5))


def attention_of_replies_is_the_formula(sizes: Sizes) -> dict[str, Any]:
    """The same of rows in which three replies stand behind the prompt that all of them read."""
    shared, place = sizes.time // 4, np.arange(sizes.time)
    begins = np.array([[shared, shared + 5, sizes.time // 2], [shared, sizes.time // 3, sizes.time - 7]])
    segments = 1 + (place >= begins[..., None]).sum(axis=1).astype(np.int32)
    begin = np.where(segments == 1, shared, np.take_along_axis(begins, np.maximum(segments - 2, 0), axis=1))
    order = np.where(place < shared, place, shared + place - begin).astype(np.int32)
    same = (segments[:, :, None] == segments[:, None, :]) | (place < shared)
    rule = Rule(sizes.channels**-0.5, shared=shared, alone=sizes.time - shared)
    return _attention(sizes, segments, (place[:, None] >= place[None, :]) & same, rule, jnp.asarray(order))


def _attention(
    sizes: Sizes, segments: np.ndarray, read: np.ndarray, rule: Rule, order: jax.Array | None = None
) -> dict[str, Any]:
    """Of two rows of ``segments``, whose queries read what ``read`` says."""
    random, heads = np.random.default_rng(1), 4
    query = random.normal(size=(2, sizes.time, heads, sizes.channels)).astype(np.float32)
    key, value = random.normal(size=(2, 2, heads // 2, sizes.time, sizes.channels)).astype(np.float32)
    above = random.normal(size=query.shape).astype(np.float32)

    def formula(query_BTHC: jax.Array, key_BKSC: jax.Array, value_BKSC: jax.Array) -> jax.Array:
        key_BHSC, value_BHSC = (jnp.repeat(x, 2, axis=1) for x in (key_BKSC, value_BKSC))
        scores = rule.scale * jnp.einsum("bthc,bhsc->bhts", query_BTHC, key_BHSC)
        weights_BHTS = jax.nn.softmax(jnp.where(read[:, None], scores, -jnp.inf), axis=-1)
        return jnp.einsum("bhts,bhsc->bthc", weights_BHTS, value_BHSC)

    attention = attention_for("auto", build_mesh(MeshShape(), jax.devices()[:1]))

    def kernel(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        return attention.attend(query, key, value, jnp.asarray(segments), rule, None, order)

    return compared(str(attention), *_both(kernel, formula, (query, key, value), above))


def head_is_the_formula(sizes: Sizes) -> dict[str, Any]:
    """The fused head's log-probabilities and their gradients against log-softmax of whole logits on the CPU."""
    random = np.random.default_rng(2)
    hidden = random.normal(size=(2, sizes.time, sizes.width)).astype(np.float32)
    head = (random.normal(size=(sizes.width, sizes.vocabulary)) / sizes.width**0.5).astype(np.float32)
    targets = random.integers(0, sizes.vocabulary, (2, sizes.time)).astype(np.int32)
    above = random.normal(size=targets.shape).astype(np.float32)
    kernels = kernels_for("auto", build_mesh(MeshShape(), jax.devices()[:1]))

    def formula(hidden_BTD: jax.Array, head_DV: jax.Array) -> jax.Array:
        log_probs_BTV = jax.nn.log_softmax(hidden_BTD @ head_DV, axis=-1)
        return jnp.take_along_axis(log_probs_BTV, targets[..., None], axis=-1)[..., 0]

    def kernel(hidden_BTD: jax.Array, head_DV: jax.Array) -> jax.Array:
        return token_log_probs(hidden_BTD, head_DV, jnp.asarray(targets), kernels=kernels).log_prob_BT

    return compared(str(kernels), *_both(kernel, formula, (hidden, head), above))


def _both(kernel: Callable, formula: Callable, arrays: tuple, above: np.ndarray) -> tuple[Any, Any]:
    """Results and gradients of the kernel on the accelerator, and of the formula on the CPU."""

    def whole(function: Callable) -> Callable:
        def run(*given: jax.Array) -> Any:
            result, back = jax.vjp(function, *given)
            return result, back(jnp.asarray(above))

        return jax.jit(run)

    with jax.default_matmul_precision("highest"):
        here = jax.device_get(whole(kernel)(*arrays))
        with jax.default_device(jax.devices("cpu")[0]):
            return here, jax.device_get(whole(formula)(*arrays))


def training_speed(sizes: Sizes) -> dict[str, Any]:
    """Tokens a second of supervised steps after the first, and that the loss falls."""
    losses, seconds = learnt(jax.devices()[0], sizes, sizes.steps, sizes.layers)
    speed = sizes.rows * sizes.time * (len(seconds) - 1) / sum(seconds[1:])
    told = {"first_step_seconds": seconds[0], "tokens_per_second": speed, "losses": losses}
    return told | {"ok": bool(np.isfinite(losses).all() and losses[-1] < losses[0])}


def grpo_speed(sizes: Sizes) -> dict[str, Any]:
    """Seconds of GRPO steps, sampling, reward and update, and sampled tokens a second after the first."""
    random = np.random.default_rng(3)
    prompts = [random.integers(2, sizes.vocabulary, (4, 16)).tolist() for _ in range(sizes.steps)]
    seconds, rewards, begun = [], [], time.perf_counter()
    settings = {"group": sizes.group, "max_new_tokens": sizes.new_tokens, "end_ids": (0,)}
    model, params = model_on(jax.devices()[0], sizes, sizes.layers), weights(sizes, sizes.layers)
    lengths: list[int] = []

    def even(prompt: Any, completion: Any) -> float:
        lengths.append(len(completion))
        return sum(token % 2 == 0 for token in completion) / max(len(completion), 1)

    for _, reward in grpo_steps(model, params, prompts, even, AdamW(1e-4), sizes.steps, **settings):
        rewards.append(reward)
        seconds.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    sampled = sum(lengths[len(lengths) // sizes.steps :])
    told = {"first_step_seconds": seconds[0], "step_seconds": float(np.median(seconds[1:])), "rewards": rewards}
    return told | {"sampled_tokens_per_second": sampled / sum(seconds[1:]), "ok": bool(np.isfinite(rewards).all())}


CHECKS = (
    losses_are_the_cpus,
    attention_is_the_formula,
    attention_of_replies_is_the_formula,
    head_is_the_formula,
    training_speed,
    grpo_speed,
)


def machine() -> dict[str, Any]:
    """What it ran on."""
    first = jax.devices()[0]
    return {
        "devices": [str(device.device_kind) for device in jax.devices()],
        "platform": first.platform,
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib", "flax")},
        "python": platform.python_version(),
        "kernels": describe_kernels("auto", build_mesh(MeshShape(), [first])),
    }


def measured(sizes: Sizes) -> dict[str, Any]:
    """Everything that goes into the file: the machine, each check with its seconds, and memory at the end."""
    told: dict[str, Any] = {"machine": machine(), "checks": {}}
    for check in CHECKS:
        begun = time.perf_counter()
        try:
            found = check(sizes)
        except Exception as error:
            found = {"ok": False, "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        found["seconds"] = time.perf_counter() - begun
        told["checks"][check.__name__] = found
        say(f"{'ok   ' if found['ok'] else 'WRONG'}  {check.__name__}  {found['seconds']:.1f} s  {_brief(found)}")
    told["memory"] = jax.devices()[0].memory_stats() or {}
    return told


def _brief(found: dict[str, Any]) -> str:
    if "error" in found:
        return found["error"].splitlines()[0]
    numbers = {key: value for key, value in found.items() if isinstance(value, float) and key != "seconds"}
    return ", ".join(f"{key} {value:.3g}" for key, value in numbers.items())


def main() -> int:
    """Runs all checks and writes the file; 1 where any is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", default="first_hour.json", help="the file to send back")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    parser.add_argument("--platform", default="", help="refuse to run on any other: tpu, gpu")
    options = parser.parse_args()
    found = jax.devices()[0].platform
    if options.platform and found != options.platform:
        say(f"JAX finds a {found} and no {options.platform}; 'reasoning doctor' says what is missing")
        return 2
    told = measured(SMALL if options.small else Sizes())
    Path(options.out).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    say(f"send back {options.out}")
    return int(not all(check["ok"] for check in told["checks"].values()))


if __name__ == "__main__":
    sys.exit(main())
