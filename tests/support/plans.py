"""A plan made by hand: two programs on two chips, of which the second may be too large."""

from reasoning.planning.chips import CHIPS
from reasoning.planning.compiling import Compiled, Exchanged
from reasoning.planning.plan import Plan, Planned
from reasoning.planning.roofline import roofline

GIB = 2.0**30


def plan_of(second: float, refusal: str = "") -> Plan:
    """A plan whose second program holds so many GiB beside 2 GiB of a reference."""
    chip = CHIPS["v5e"]
    exchanged = (Exchanged("all-gather", "fsdp", 2e9, 4e9),)
    found = Compiled(3 * GIB, 2 * GIB, (("argument 0/params/embedding", GIB),), 197e12, 819e6, exchanged)
    large = Compiled(second * GIB, GIB, (), 0.0 if refusal else 1.97e12, 81.9e9, (), refusal)
    programs = (
        Planned("zero", "sample", 10, 4000, 197 * 10**12, found, {}, roofline(found, chip)),
        Planned("zero", "update", 20, 0, 0, large, {"reference": 2 * GIB}, roofline(large, chip)),
    )
    versions = {"jax": "0.10.2", "libtpu": "0.0.42"}
    return Plan("v5e:1x2", "TPU v5 lite", chip, 2, {"data": 2}, programs, ("zero: its longest prompt",), versions)
