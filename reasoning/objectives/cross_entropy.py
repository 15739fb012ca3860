"""The loss of pretraining and supervised fine-tuning.

Legend: B rows, T time.
"""

from jaxtyping import Array, Float


def cross_entropy(log_probs_BT: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """How surprised the model is by each token, in nats: -log p(token). The caller weights and sums.

    Minimising its mean is maximum likelihood (Goodfellow, Bengio and Courville, *Deep Learning*, section 5.5).
    """
    return -log_probs_BT
