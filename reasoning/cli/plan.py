"""``reasoning plan``: what a run takes on a pod, told by compiling all of its programs for it, here and now."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import display, output
from reasoning.core.errors import InputError
from reasoning.core.files import write_atomic, write_json
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.run_experiment import run_of
from reasoning.planning import apart
from reasoning.planning.compiling import Compiler, plans_folder
from reasoning.planning.handed import Source, fingerprint
from reasoning.planning.plan import Assumed, Planner
from reasoning.planning.record import plan_record
from reasoning.planning.search import search
from reasoning.planning.topology import topology_devices
from reasoning.planning.trying import helped
from reasoning.report.page import page
from reasoning.report.plan import plan_report, show_plan, show_search

_EPILOG = """\
Nothing is run, and no TPU is needed: libtpu compiles for absent ones (make tpu-aot), JAX's CUDA plugin for absent
H100s. What was compiled once is remembered. The exit status is 1 where something doesn't fit.
examples:
  reasoning plan experiments/r1_tiny.gin --on v5e-4
  reasoning plan experiments/pods/llama3_8b_grpo.gin --on v5e-64 grpo.microbatches=4 --price 1.2 --html plan.html
  reasoning plan experiments/pods/llama3_8b_grpo.gin --on v5e-64 --search 6
"""


def main(arguments: Sequence[str]) -> int:
    """Plans, shows the table, and returns 0 where all fits, 1 where something doesn't."""
    chosen = parsed(_parser().parse_intermixed_args, arguments)
    jax.config.update("jax_platforms", "cpu")  # The devices are a topology's; whatever is here isn't touched.
    assumed = replace(
        Assumed(), **{name: getattr(chosen, name) for name in ("prompt", "rows") if getattr(chosen, name)}
    )
    if chosen.search and (chosen.json or chosen.html):
        raise InputError("--search ranks settings, and --json and --html write one plan; plan those that you choose")
    experiment = read_experiment(chosen.file, chosen.overrides)
    run = run_of(experiment)
    devices, source = topology_devices(chosen.on), Source.of(experiment, tuple(chosen.overrides))
    with display() as watcher:
        compiler = Compiler(chosen.on, plans_folder(), lambda name: watcher.note(f"compiles {name}"))
        quickly = partial(apart.place, source, run, chosen.on, assumed) if chosen.quick else None
        known = partial(fingerprint, source, run)
        planner = Planner(chosen.on, devices, compiler, assumed, watcher.report, quickly, known)
        if chosen.search:
            ranked = search(planner, run, chosen.search)
            show_search(output(), ranked, len(devices) // planner.chip()[1].devices)
            return 0 if ranked[0].fits else 1
        plan = planner.plan(run)
        helping = helped(planner, run, plan)
    show_plan(output(), plan, chosen.price, helping)
    if chosen.json:
        write_json(Path(chosen.json), plan_record(plan, chosen.price, helping))
    if chosen.html:
        write_atomic(Path(chosen.html), page(plan_report(plan, chosen.price, helping)))
    return 1 if plan.too_large else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning plan",
        description="Compiles every program of an experiment for a topology of TPUs or GPUs, and says whether it fits, "
        "what binds, how long it takes at least, and what that costs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help="the experiment file (.gin)")
    parser.add_argument("overrides", nargs="*", metavar="PART.FIELD=VALUE", help="settings that replace the file's")
    parser.add_argument(
        "--on", required=True, metavar="NAME", help="what to plan for: v5e-16, v5p-64, v5e:4x4, 2xv5e-256, h100x8"
    )
    parser.add_argument("--price", type=float, default=0.0, metavar="AMOUNT", help="of a chip for an hour")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="compile programs until their buffers are placed, without machine code: in a tenth of the time",
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write the plan as JSON")
    parser.add_argument("--html", default="", metavar="FILE", help="write the plan as a page")
    parser.add_argument(
        "--search",
        type=int,
        default=0,
        metavar="N",
        help="compile meshes, rows at once and remats, the fastest by an estimate first, until N fit, and rank them",
    )
    parser.add_argument(
        "--prompt-tokens",
        dest="prompt",
        type=int,
        default=0,
        metavar="N",
        help=f"tokens of the longest prompt, where tokenizer or problems aren't at hand (else {Assumed().prompt})",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=0,
        metavar="N",
        help=f"rows of data of which epochs are learnt (else {Assumed().rows:,})",
    )
    return parser
