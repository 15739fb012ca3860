"""What is going wrong with a run, told from the course of its metrics: pure functions, one a kind of trouble.

Each gives a sentence that says what is seen and what to do, or None. They look at levels, medians of windows of at
least ``window`` points and of a tenth of all, since single steps say little: ``early`` is that of the first window,
``late`` that of the last. Nothing is said before two windows are full.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from reasoning.core.history import History
from reasoning.core.jumps import Roles, find_jumps
from reasoning.core.ranges import Count, Fraction, Positive
from reasoning.core.series import levels, step_noise

_REWARD, _LENGTH, _CUT = "reward", "completions/mean_length", "completions/clipped_ratio"
_ENTROPY, _LOSS, _NORM, _SKIPPED = "entropy", "loss", "grad_norm", "skipped"
_EQUAL, _APART = "frac_reward_zero_std", "sampling/sampling_logp_difference/mean"
_DATA, _SECONDS = "data", "seconds"
"""The parts of a step's time that are looked at: what reading takes, of how much."""

_SURE = 6.0
"""Standard deviations that a fall of the reward must exceed."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where trouble begins; each field is read by the function of its name in ``training.diagnosis``."""

    window: Count = 5  # points of a level, at least
    entropy_left: Fraction = 0.1  # collapse: less than this share of the early entropy …
    entropy_floor: Positive = 0.1  # … and fewer nats a token
    length_growth: Positive = 1.5  # runaway: replies that many times as long as early …
    length_cut: Fraction = 0.5  # … of which so large a share runs into the limit
    signal_steps: Count = 10  # no signal: so many steps, or an epoch if that is less (but at least 3)
    hacking_steps: Count = 20  # hacking: so many steps after a jump, in which the others may still follow
    apart_nats: Positive = 0.05  # mismatch: bfloat16 rounds by .01
    loss_growth: Positive = 1.5  # divergence: a loss of tokens so many times its lowest level …
    loss_rise: Positive = 0.5  # … and so many nats above it
    gradient_growth: Positive = 100.0  # or a gradient norm so many times its lowest level …
    gradient_size: Positive = 10.0  # … and so large
    reward_left: Fraction = 0.5  # or a reward of which less is left than this share of its best level
    entropy_rise: Positive = 1.0  # or replies that become noise: entropy up by so many nats, and threefold
    skipped_updates: Count = 3  # or so many updates in a row that were skipped
    starved_share: Fraction = 0.5  # starvation: so much of a step is spent waiting for data …
    starved_seconds: Positive = 0.05  # … and so many seconds
    stale_probes: Count = 5  # stale: so many probes in a row that all give the very same numbers …
    stale_change: Positive = 0.1  # … while the reward or the loss changed by so much


@dataclass(frozen=True)
class Subject:
    """What is looked at: whether its loss is one of tokens to be predicted or its model learns from rewards, and how
    many steps it will take; ``roles`` are those of its rewards."""

    by_loss: bool
    by_rewards: bool
    steps: int
    roles: Roles = Roles()


Check = Callable[[History, Subject, Limits], str | None]


def _width(values: np.ndarray, limits: Limits) -> int:
    """Values of a level."""
    return max(limits.window, len(values) // 10)


def _levels(history: History, name: str, limits: Limits) -> np.ndarray | None:
    """The levels of a metric, the first and the last without a value in common; None before there are such two."""
    values = history.values(name)
    width = _width(values, limits)
    return None if len(values) < 2 * width else levels(values, width)


def _ends(history: History, name: str, limits: Limits) -> tuple[float, float] | None:
    """The early and the late level of a metric; None before there are two."""
    found = _levels(history, name, limits)
    return None if found is None else (float(found[0]), float(found[-1]))


def _rose(history: History, limits: Limits) -> bool:
    """Whether the reward's late level lies a tenth of its scale (its largest size, at least 1) above the early one."""
    ends = _ends(history, _REWARD, limits)
    return ends is not None and ends[1] - ends[0] >= 0.1 * max(1.0, float(np.abs(history.values(_REWARD)).max()))


def entropy_collapse(history: History, subject: Subject, limits: Limits) -> str | None:
    """A policy that always says the same has stopped exploring, and learns nothing more.

    The late ``entropy`` is below ``entropy_left`` of the early one and below ``entropy_floor`` nats a token, and the
    reward hasn't risen meanwhile: a policy that has learnt its task may well be sure of it.
    """
    ends = _ends(history, _ENTROPY, limits)
    if not subject.by_rewards or ends is None or _rose(history, limits):
        return None
    early, late = ends
    if late >= limits.entropy_floor or late >= limits.entropy_left * early:
        return None
    return (
        f"entropy fell from {early:.3g} to {late:.3g} nats a token and the reward didn't rise: all replies become the "
        "same; lower the learning rate, raise the temperature or clip_high, or add a KL term"
    )


def length_runaway(history: History, subject: Subject, limits: Limits) -> str | None:
    """Replies that grow until the limit cuts them off tell of a model that has forgotten how to end.

    The late ``completions/mean_length`` is ``length_growth`` times the early one, and ``completions/clipped_ratio`` has
    come from less than half of ``length_cut`` to more than it.
    """
    lengths, cut = _ends(history, _LENGTH, limits), _ends(history, _CUT, limits)
    if lengths is None or cut is None:
        return None
    if lengths[1] < limits.length_growth * lengths[0] or cut[0] > limits.length_cut / 2 or cut[1] < limits.length_cut:
        return None
    return (
        f"replies grew from {lengths[0]:.0f} to {lengths[1]:.0f} tokens, and the limit cuts off {cut[1]:.0%} of them; "
        "read some (reasoning show RUN/STAGE), then raise max_new_tokens, or pay less for length (mask_truncated, "
        "rewards.overlong)"
    )


def without_signal(history: History, subject: Subject, limits: Limits) -> str | None:
    """Rewards that tell no reply of a group from another teach nothing; such a stage runs to its end unchanged.

    ``frac_reward_zero_std`` is 1, or no reply was graded, for ``signal_steps`` steps in a row, or an epoch if that is
    shorter (but at least 3).
    """
    points = history.points(_EQUAL)
    if not points:
        return None
    step = points[-1][0]
    epoch = history.last("epoch")
    length = math.ceil(step / epoch - 1e-9) if epoch > 0 else limits.signal_steps
    needed = min(max(length, 3), limits.signal_steps, subject.steps)
    taught = max((at for at, share in points if share < 1), default=0.0)
    if step - taught < needed:
        return None
    rewards = [value for at, value in history.points(_REWARD) if at > taught]
    graded = [value for value in rewards if math.isfinite(value)]
    found = "no reply was graded"
    if graded:
        low, high = min(graded), max(graded)
        found = f"rewards were equal within every group ({low:.4g} to {high:.4g} on the mean of a step)"
        if math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12):
            found = f"every reward was {low:.4g}"
    return (
        f"in the last {step - taught:.0f} steps up to step {step:.0f} {found}, so nothing was learnt; read some "
        "completions (reasoning show RUN/STAGE), then check the reward functions, ask problems that the model solves "
        "now and then, or raise samples or temperature"
    )


def reward_hacking(history: History, subject: Subject, limits: Limits) -> str | None:
    """A reward that jumps while nothing that should follow does may have been fooled (``core.jumps`` defines it).

    Told only ``hacking_steps`` steps, and a fifth of all, after the jump, since the others may follow late.
    """
    rewards = {name.split("/")[1]: history.points(name) for name in history.names("rewards/", "/mean")}
    rewards = {name: points for name, points in rewards.items() if all(math.isfinite(value) for _, value in points)}
    probes = {name.removeprefix("probe/"): history.points(name) for name in history.names("probe/")}
    last = max((points[-1][0] for points in rewards.values() if points), default=0.0)
    for jump in find_jumps(rewards, probes, subject.roles):
        if last - jump.step >= max(limits.hacking_steps, last / 5):
            others = ", ".join(f"{name} {low:.2f} to at most {high:.2f}" for name, (low, high) in jump.others.items())
            return (
                f"the reward {jump.reward} jumped from {jump.before:.2f} to {jump.after:.2f} about step {jump.step}, "
                f"and nothing followed ({others}); read what it pays best (reasoning show RUN/STAGE --best)"
            )
    return None


def mismatch(history: History, subject: Subject, limits: Limits) -> str | None:
    """A sampler that isn't the trainer's model makes every update slightly wrong.

    The late ``sampling/sampling_logp_difference/mean`` is above ``apart_nats``; what rounding gives is told by
    ``reasoning numerics``.
    """
    ends = _ends(history, _APART, limits)
    if ends is None or ends[1] <= limits.apart_nats:
        return None
    return (
        f"sampler and trainer give the same tokens log-probabilities {ends[1]:.3g} nats apart (rounding of bfloat16 is "
        "about .01); see where by reasoning numerics RUN, and name a correction"
    )


def divergence(history: History, subject: Subject, limits: Limits) -> str | None:
    """Training that comes apart, told by the first of these signs.

    ``skipped_updates`` updates in a row were skipped. A loss of tokens is ``loss_growth`` times, and ``loss_rise`` nats
    above, its lowest level or its first value, or has given no gradient for ``window`` steps. The gradient norm is
    ``gradient_growth`` times its lowest level, and above ``gradient_size``. Of rewards: less than ``reward_left`` of
    the best level is left, no more than there was early, and chance doesn't do it; or the entropy has risen threefold,
    by ``entropy_rise`` nats and more, and the reward has not.
    """
    signs = (_skipping, _loss_rising, _gradient_growing, _gradient_gone, _reward_lost, _becoming_noise)
    return next((told for sign in signs if (told := sign(history, subject, limits))), None)


def _skipping(history: History, subject: Subject, limits: Limits) -> str | None:
    if not history.last(_SKIPPED) >= limits.skipped_updates:
        return None
    return (
        f"the last {history.last(_SKIPPED):.0f} updates were skipped, since they weren't finite or were out of line; "
        "lower the learning rate or look at the data"
    )


def _loss_rising(history: History, subject: Subject, limits: Limits) -> str | None:
    found = _levels(history, _LOSS, limits)
    if not subject.by_loss or found is None:
        return None
    lowest, late = min(float(found.min()), float(history.values(_LOSS)[0])), float(found[-1])
    if late <= max(limits.loss_growth * lowest, lowest + limits.loss_rise):
        return None
    return f"the loss rose from {lowest:.3g} to {late:.3g}; lower the learning rate, or look at the data"


def _gradient_growing(history: History, subject: Subject, limits: Limits) -> str | None:
    found = _levels(history, _NORM, limits)
    if found is None:
        return None
    lowest, late = float(found.min()), float(found[-1])
    if late <= max(limits.gradient_growth * lowest, limits.gradient_size):
        return None
    return f"the gradient norm rose from {lowest:.3g} to {late:.3g}; lower the learning rate, or name a guard"


def _gradient_gone(history: History, subject: Subject, limits: Limits) -> str | None:
    """Large steps leave units that nothing reaches any more; a loss of tokens then has no gradient at all."""
    values = history.values(_NORM)
    if not subject.by_loss or len(values) <= limits.window or values[-limits.window :].any():
        return None
    return f"no gradient has come of the last {limits.window} steps: nothing trains any more; lower the learning rate"


def _reward_lost(history: History, subject: Subject, limits: Limits) -> str | None:
    values, found = history.values(_REWARD), _levels(history, _REWARD, limits)
    if not subject.by_rewards or found is None:
        return None
    best, early, late = float(found.max()), float(found[0]), float(found[-1])
    noise = step_noise(values, _width(values, limits))
    lost = best - late
    if lost <= (1 - limits.reward_left) * max(abs(best), abs(late)) or lost <= _SURE * noise or late > early:
        return None
    return (
        f"the reward fell from {best:.3g} to {late:.3g}, no more than it began with ({early:.3g}); lower the learning "
        "rate, update fewer times on the same rollouts, or add a KL term"
    )


def _becoming_noise(history: History, subject: Subject, limits: Limits) -> str | None:
    ends = _ends(history, _ENTROPY, limits)
    if not subject.by_rewards or ends is None or _rose(history, limits):
        return None
    early, late = ends
    if late < early + limits.entropy_rise or late < 3 * early:
        return None
    return f"entropy rose from {early:.3g} to {late:.3g} nats a token and the reward didn't: replies become noise"


def stale_probe(history: History, subject: Subject, limits: Limits) -> str | None:
    """A probe that answers the same whatever is learnt doesn't measure what trains.

    The last ``stale_probes`` probes gave the very same numbers, lengths of replies among them, while the level of the
    reward, or of the loss, changed by ``stale_change`` between them.
    """
    names = history.names("probe/")
    recent = [history.points(name)[-limits.stale_probes :] for name in names]
    if not names or min(map(len, recent)) < limits.stale_probes:
        return None
    if any(value != points[0][1] for points in recent for _, value in points):
        return None
    begun = min(points[0][0] for points in recent)
    name = _REWARD if subject.by_rewards else _LOSS
    course = np.array([value for at, value in history.points(name) if at >= begun and math.isfinite(value)])
    if len(course) < 2 * limits.window:
        return None
    before, after = np.median(course[: limits.window]), np.median(course[-limits.window :])
    if abs(after - before) < limits.stale_change:
        return None
    return (
        f"{len(names)} numbers of the probe have been the very same {limits.stale_probes} times, while the {name} went "
        f"from {before:.3g} to {after:.3g}; ask other problems, more of them, or longer replies"
    )


def starvation(times: History, subject: Subject, limits: Limits) -> str | None:
    """Devices that wait for rows are paid for nothing; told from a step's seconds by part, so by a clock.

    The late share of ``data`` in a step is above ``starved_share``, and more than ``starved_seconds``.
    """
    data, whole = _ends(times, _DATA, limits), _ends(times, _SECONDS, limits)
    if data is None or whole is None or whole[1] <= 0:
        return None
    share = data[1] / whole[1]
    if share <= limits.starved_share or data[1] <= limits.starved_seconds:
        return None
    return (
        f"{share:.0%} of a step, {data[1]:.2g} s, go by waiting for data; prepare it beforehand, put it on a faster "
        "disk, or make rows longer"
    )


HACKING, STARVATION = "reward hacking", "data starvation"
"""Two of the kinds: reports tell the one from the whole course, the other is told from seconds."""

CHECKS: Mapping[str, Check] = {
    "divergence": divergence,
    "reward without signal": without_signal,
    "entropy collapse": entropy_collapse,
    "length runaway": length_runaway,
    HACKING: reward_hacking,
    "sampler/trainer mismatch": mismatch,
    "stale probe": stale_probe,
}
"""What is told of from metrics alone, by kind."""
