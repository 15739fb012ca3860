"""Sweeps made from values alone, for whatever tells of sweeps."""

from reasoning.findings.sweep_numbers import ArmNumbers, SweepNumbers, arm_score
from reasoning.report.sweep import SweepTable

BASELINE = {seed: 0.5 + 0.01 * seed for seed in range(5)}
BETTER = {seed: value + 0.1 + 0.001 * seed for seed, value in BASELINE.items()}
UNCLEAR = {seed: value + 0.05 * (-1) ** seed for seed, value in BASELINE.items()}


def row(label, values, baseline=None, inert=False, failures=None, missing=()):
    """An arm whose every score has these values by seed."""
    scores = values if isinstance(next(iter(values.values()), None), dict) else {"exam/zero/strict/pass@1": values}
    seeds = sorted({seed for found in scores.values() for seed in found} | {*missing} | {*(failures or {})})
    states = {seed: "finished" for seed in seeds} | dict.fromkeys(missing, "not finished")
    states |= dict.fromkeys(failures or {}, "failed")
    settings = () if label == "baseline" else (label,)
    by_name = {name: arm_score(found, {} if baseline is None else baseline) for name, found in scores.items()}
    return ArmNumbers(label, label, settings, states, failures or {}, by_name, inert)


def numbers_of(*rows, way="each", fixed=()):
    return SweepNumbers("a.gin", way, tuple(rows[0].states), tuple(rows[0].scores), rows, fixed)


def sweep(*rows, **more):
    return SweepTable(numbers_of(*rows, **more))
