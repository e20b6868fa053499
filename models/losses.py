"""What a training minimises: cross-entropy or focal loss, with smoothed targets."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.plan import Plan


def losses_of(plan: Plan, logits: Any, targets: Any) -> Any:
    """The loss of each picture.

    Targets are smoothed (Szegedy et al. 2016, CVPR, arXiv:1512.00567): 1 − s + s / k for the right one of k
    outputs and s / k for the others. The focal loss (Lin et al. 2017, ICCV, arXiv:1708.02002) takes each
    output's term times (1 − p)^gamma, so that pictures that are right already leave the word to the hard ones.

    Args:
        plan: `loss`, `gamma` and `smoothing` of it.
        logits: n × outputs, float32.
        targets: n integers, the right output of each.

    Returns:
        n losses in nats.
    """
    outputs = logits.shape[-1]
    wanted = tf.one_hot(targets, outputs) * (1 - plan.smoothing) + plan.smoothing / outputs
    if plan.loss == "cross-entropy":
        return tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
    chance = tf.nn.log_softmax(logits)
    # A root below gamma 1 has no finite slope at 0, where rounding takes the chance of a certain picture.
    rest = tf.maximum(1 - tf.exp(chance), 1e-7)
    return -tf.reduce_sum(wanted * rest**plan.gamma * chance, axis=-1)
