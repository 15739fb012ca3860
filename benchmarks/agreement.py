"""Whether models, train steps, divergences, beam search and sampler agree with torch and transformers.

Everything on our side goes through the functions that the stages run; everything on the other is transformers' own, or
a paper's formula in torch. Checkpoints are tiny and random (``--seed`` draws others), all in float32. Prints one table
and exits with 1 if a line is beyond its bound. In an environment of its own, since nothing else here needs torch:

    python3.11 -m venv agreement && agreement/bin/pip install -r requirements/run.txt
    agreement/bin/pip install torch==2.13.0 transformers==5.24.0      # a CPU build
    PYTHONPATH=. JAX_PLATFORMS=cpu agreement/bin/python benchmarks/agreement.py

2026-11-28, 2 busy cores of an AMD EPYC, jax 0.10.2, some 130 s of CPU time, seeds 0 to 2 (beams 0, 1, 3): logits
within 1.1e-5, parameters after SFT within 6e-7 and after GRPO within 1e-5 of a move by 1.2e-2, divergences within
3.5e-6, all beam searches equal, the sampler's log-probabilities within 1.4e-6.
"""

import argparse
import sys
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from agreement_generation import beams, logits, sampling
from agreement_models import Compared, apart, families, worst
from agreement_steps import gradients, policy_steps, supervised_steps

from reasoning.kernels.token_divergence import token_divergence
from reasoning.objectives.divergence import JSD, forward, reverse

TOKENS, WIDTH, TEACHER_WIDTH, VOCABULARY = (2, 5), 8, 12, 50
TEMPERATURES = (0.7, 1.0, 2.0)
BETAS = (0.1, 0.5, 0.9)
DIVERGENCES_WITHIN = 1e-5


def their_divergence(kind: str, log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """KL(p || q), KL(q || p), or the generalised Jensen-Shannon (arXiv 2306.13649, section 2), summed over the tokens.

    p is the teacher's distribution, q the student's; ``kind`` is 'forward', 'reverse', or the teacher's share.
    """

    def kl(log_a: torch.Tensor, log_b: torch.Tensor) -> torch.Tensor:
        return (log_a.exp() * (log_a - log_b)).sum()

    if kind in ("forward", "reverse"):
        return kl(log_p, log_q) if kind == "forward" else kl(log_q, log_p)
    beta = float(kind)
    log_m = torch.log(beta * log_p.exp() + (1 - beta) * log_q.exp())
    return beta * kl(log_p, log_m) + (1 - beta) * kl(log_q, log_m)


def divergences(seed: int) -> Iterator[Compared]:
    """Value and the student's two gradients, relative to the largest of each, in float32 against float64."""
    random = np.random.default_rng(seed)
    shapes = ((*TOKENS, WIDTH), (WIDTH, VOCABULARY), (*TOKENS, TEACHER_WIDTH), (TEACHER_WIDTH, VOCABULARY))
    arrays = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    values, slopes = [], []
    kinds = {"forward": forward, "reverse": reverse, **{str(beta): JSD(beta) for beta in BETAS}}
    for name, kind in kinds.items():

        def total(hidden, matrix, *rest, kind=kind):
            return token_divergence(hidden, matrix, *rest[:2], divergence=kind, temperature=rest[2]).sum()

        both = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
        for temperature in TEMPERATURES:
            value, ours = both(*arrays, jnp.float32(temperature))
            student, matrix, *teacher = (torch.tensor(array, dtype=torch.float64) for array in arrays)
            student.requires_grad_(), matrix.requires_grad_()
            log_p = torch.log_softmax(teacher[0] @ teacher[1] / temperature, -1)
            right = their_divergence(name, log_p, torch.log_softmax(student @ matrix / temperature, -1))
            right.backward()
            values.append(apart(value / right.item(), 1.0))
            for one, other in zip(ours, (student.grad, matrix.grad), strict=True):
                largest = float(other.abs().max())
                slopes.append(apart(one / largest, other / largest))
    what = f"forward, reverse, JSD at T {', '.join(f'{one:g}' for one in TEMPERATURES)}"
    yield Compared(f"{what}: values", "float64 formula", *worst(values), DIVERGENCES_WITHIN)
    yield Compared(f"{what}: gradients", "float64 formula", *worst(slopes), DIVERGENCES_WITHIN)


PARTS = {
    "logits": logits,
    "gradients": gradients,
    "sft": supervised_steps,
    "grpo": policy_steps,
    "divergences": divergences,
    "beams": beams,
    "sampling": sampling,
}


def main() -> None:
    """Compares part by part and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="draws checkpoints, texts, completions and rewards")
    usual = [name for name in PARTS if name != "gradients"]
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=usual, help="gradients, of every family, take long"
    )
    chosen = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)  # its arrays are too small to be shared out
    families()
    lines: list[Compared] = []
    for name in chosen.parts:
        started = time.perf_counter()
        lines += PARTS[name](chosen.seed)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    versions = f"jax {jax.__version__}, torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"\nseed {chosen.seed}, {versions}")
    print(f"{'what':62} {'against':24} {'cases':>5} {'largest':>8} {'allowed':>8}")
    for line in lines:
        verdict = "" if line.agrees else "  BEYOND ITS BOUND"
        print(f"{line.what:62} {line.against:24} {line.cases:5} {line.difference:8.1e} {line.allowed:8.1e}{verdict}")
    sys.exit(0 if all(line.agrees for line in lines) else 1)


if __name__ == "__main__":
    main()
