"""``reasoning numerics``: whether what samples is what learns, token by token, and where in the context it isn't."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.findings.numbers import fixed, plain
from reasoning.pipeline.devices import use_compile_cache
from reasoning.report.console import complain, put, table
from reasoning.use.numerics import ALLOWED, Band, Comparison, Extent, check_numerics, models_of

_COLUMNS = ("computed in", "tokens before", "n", "mean", "99 %", "largest", "ratio, 1 to 99 %")

_EPILOG = """\
examples:
  reasoning numerics runs/r1_tiny                     all models of a run
  reasoning numerics runs/r1_tiny zero --length 64
  reasoning numerics checkpoints/smollm2 --prompts 4 --length 1024
"""


def main(arguments: Sequence[str]) -> int:
    """Prints a table a model and returns the exit status: 1 where sampler and trainer differ in float32."""
    chosen = parsed(_parser().parse_args, arguments)
    extent = Extent(chosen.prompts, chosen.length, chosen.seed)
    use_compile_cache(complain)
    console, faults = output(), 0
    names = models_of(chosen.run) if not chosen.stage else (str(Path(chosen.run) / chosen.stage),)
    for name in names:
        found = check_numerics(name, extent)
        rows = [row for comparison in found for row in _rows(comparison)]
        put(console, table(f"{name}: |log p - log q|, trainer p, sampler q", _COLUMNS, rows))
        for comparison in found:
            faults += comparison.faulty
            put(console, _verdict(comparison), "bold" if comparison.faulty else "")
    return 1 if faults else 0


def _rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for band in comparison.bands:
        depths = f"{band.first}" if band.first == band.last else f"{band.first}–{band.last}"
        yield _row(comparison.dtype, depths, band)
    yield _row(comparison.dtype, "all", comparison.whole)


def _row(dtype: str, depths: str, band: Band) -> tuple[str, ...]:
    low, high = (fixed(ratio, 4) for ratio in band.ratio)
    return (dtype, depths, f"{band.count:,}", plain(band.mean), plain(band.p99), plain(band.largest), f"{low}–{high}")


def _verdict(comparison: Comparison) -> str:
    farthest = comparison.farthest
    place = (
        f"token {farthest.token} of a reply to {farthest.prompt_length} tokens: log-probability "
        f"{plain(farthest.sampler)} of the sampler, {plain(farthest.trainer)} of the trainer"
    )
    if comparison.faulty:
        return f"{comparison.dtype}: apart by {plain(farthest.apart)}, allowed are {ALLOWED:g}; {place}"
    return f"{comparison.dtype}: farthest at {place}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning numerics",
        description="Samples replies to random prompts by the engine, scores the same tokens as training does, and "
        "shows by depth in the context how far both are apart, in the type that the model computes in and in float32. "
        f"Ends with status 1 where a log-probability differs by more than {ALLOWED:g} in float32: then what samples is "
        "not the model that learns.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="the --out of a run, RUN/STAGE, or a model that belongs to no run")
    parser.add_argument("stage", nargs="?", default="", metavar="STAGE", help="one stage (default: all that trained)")
    parser.add_argument("--prompts", type=int, default=8, metavar="N", help="prompts, of two replies each (default: 8)")
    parser.add_argument(
        "--length",
        type=int,
        default=0,
        metavar="N",
        help="tokens of the longest prompt and reply (default: the context, up to 512)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="other prompts for another S (default: 0)")
    return parser
