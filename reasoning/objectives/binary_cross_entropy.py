"""The loss of reward models, which say how probable it is that a reply, or a step, is right.

Legend: B rows, T time.
"""

import jax
from jaxtyping import Array, Float


def binary_cross_entropy(logits_BT: Float[Array, "B T"], labels_BT: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """How surprised a model is by labels in 0..1, in nats: -y log σ(z) - (1 - y) log(1 - σ(z)).

    Training Verifiers (arXiv 2110.14168) and, at each step, Math-Shepherd (arXiv 2312.08935, eq. 2), whose soft labels
    are shares. Written so that no exponential overflows; the caller weights and sums.
    """
    return jax.nn.softplus(logits_BT) - labels_BT * logits_BT
