"""What a compiled program takes on each device: products, traffic to its memory, and what devices exchange.

``cost_analysis()`` counts a loop's body once; here it counts as often as the loop turns.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np

from reasoning.planning.collectives import COLLECTIVES, repeated
from reasoning.planning.groups import first_group
from reasoning.planning.hlo import Computation, HloArray, Instruction, Module
from reasoning.planning.libraries import is_product, library_flops

_FREE = frozenset(
    "parameter constant tuple get-tuple-element bitcast after-all partition-id replica-id opt-barrier domain "
    "get-dimension-size add-dependency".split()
)
_ATTENTION = {"splash_mha_fwd": 2, "splash_mha_dq": 3, "splash_mha_dkv": 4}
"""Products of queries' size with all keys in each of the kernels."""

_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_KERNEL_FLOPS = re.compile(r'"cost_estimate":\{[^{}]*?"flops":"?(\d+)')
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")


@dataclass(frozen=True, order=True)
class Exchange:
    """A kind of collective over groups of devices, by the first group's numbers in the program."""

    kind: str
    group: tuple[int, ...]


@dataclass
class Cost:
    """Of one device: ``flops`` of products, ``hbm`` bytes that are read and written, and bytes sent a kind of exchange.

    ``sent`` are bytes that leave a device, ``held`` the results that exchanges leave on it.
    """

    flops: float = 0.0
    hbm: float = 0.0
    sent: dict[Exchange, float] = field(default_factory=dict)
    held: dict[Exchange, float] = field(default_factory=dict)

    def add(self, other: "Cost", times: float = 1.0) -> None:
        """Adds another cost so many times."""
        self.flops += times * other.flops
        self.hbm += times * other.hbm
        for own, theirs in ((self.sent, other.sent), (self.held, other.held)):
            for exchange, size in theirs.items():
                own[exchange] = own.get(exchange, 0.0) + times * size


def cost_of(module: Module, trips: Mapping[str, float]) -> Cost:
    """The cost of a program from beginning to end.

    ``trips`` are how often loops turn whose number the program doesn't know, by the scope that they were traced in;
    other such loops count once, and of branches the one that takes most.
    """
    return _Counting(module, trips).computation(module.entry)


def largest_arrays(module: Module, count: int) -> list[tuple[str, float]]:
    """The largest arrays in HBM that instructions make, with the scope that they come from, each shape once."""
    found: dict[tuple[str, tuple[int, ...]], tuple[str, float]] = {}
    for computation in _in_memory(module):
        for one in computation.instructions.values():
            if one.opcode in _FREE or one.opcode in ("while", "conditional", "call"):
                continue
            for array in one.result:
                if array.space == 0:
                    sizes = ",".join(map(str, array.shape))
                    where = "/".join(one.scope.split("/")[-2:]) or one.opcode
                    found.setdefault((array.dtype, array.shape), (f"{array.dtype}[{sizes}] {where}", array.bytes))
    return sorted(found.values(), key=lambda pair: -pair[1])[:count]


def _in_memory(module: Module) -> Iterator[Computation]:
    """The computations whose instructions leave their results in memory: all but those within fusions."""
    waiting, seen = [module.entry], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in module.computations:
            continue
        seen.add(name)
        yield module.computations[name]
        for one in module.computations[name].instructions.values():
            if one.opcode in ("while", "conditional", "call"):
                for word in ("body", "to_apply", "branch_computations", "true_computation", "false_computation"):
                    waiting.extend(one.called(word))


@dataclass
class _Counting:
    """Costs of computations, each counted once."""

    module: Module
    trips: Mapping[str, float]
    known: dict[tuple[str, bool], Cost] = field(default_factory=dict)

    @cached_property
    def again(self) -> frozenset[tuple[str, str]]:
        """Collectives that others stand for."""
        return repeated(self.module)

    def computation(self, name: str, fused: bool = False) -> Cost:
        """The cost of a computation; of a ``fused`` one without its traffic, which is the fusion's."""
        if (name, fused) not in self.known:
            total, computation = Cost(), self.module.computations[name]
            for one in computation.instructions.values():
                if (name, one.name) not in self.again:
                    total.add(self.instruction(computation, one, fused))
            self.known[name, fused] = total
        return self.known[name, fused]

    def instruction(self, around: Computation, one: Instruction, fused: bool) -> Cost:
        """The cost of one instruction."""
        cost = Cost()
        if one.opcode in _FREE or one.opcode.endswith(("-done", "-update")):
            return cost
        if one.opcode in ("while", "conditional", "call", "async-start", "fusion"):
            return self.calling(around, one, fused)
        cost.flops += _flops(around, one)
        kind = one.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            _exchanged(around, one, kind, cost)
        if not fused:
            cost.hbm += _traffic(around, one)
        return cost

    def calling(self, around: Computation, one: Instruction, fused: bool) -> Cost:
        """The cost of an instruction that calls other computations."""

        def called(*words: str) -> list[str]:
            return [name for word in words for name in one.called(word)]

        if one.opcode == "conditional":
            branches = called("branch_computations", "true_computation", "false_computation")
            return _most([self.computation(name, fused) for name in branches])
        cost, inner = Cost(), one.opcode == "fusion"
        times = self.turns(one) if one.opcode == "while" else 1.0
        for name in called("body", "condition", "calls", "to_apply"):
            cost.add(self.computation(name, fused or inner), times)
            if inner and not fused:
                others = frozenset(collective for place, collective in self.again if place == name)
                cost.hbm += _fusion_traffic(around, one, self.module.computations[name], others)
        return cost

    def turns(self, loop: Instruction) -> float:
        """How often a loop turns."""
        known = _TRIPS.search(loop.attributes)
        if known:
            return int(known[1])
        named = [turns for scope, turns in self.trips.items() if loop.scope.endswith(f"{scope}/while")]
        return named[0] if named else _counted(self.module, loop)


def _counted(module: Module, loop: Instruction) -> float:
    """The turns of a loop whose condition compares with a constant, counted from 0; 1 where it does something else."""
    for name in loop.called("condition"):
        condition = module.computations[name]
        if condition.root.opcode == "compare" and "direction=LT" in condition.root.attributes:
            limits = [condition.maker(operand) for operand in condition.root.operands]
            constants = [one.inside for one in limits if one is not None and one.opcode == "constant"]
            if len(constants) == 1 and constants[0].isdigit():
                return int(constants[0])
    return 1


def _most(costs: list[Cost]) -> Cost:
    """Of branches the dearest: by traffic, then by products."""
    return max(costs, key=lambda cost: (cost.hbm, cost.flops), default=Cost())


def _operands(around: Computation, one: Instruction) -> list[HloArray]:
    return [array for name in one.operands for array in around.arrays(name)]


def _in_hbm(arrays: list[HloArray] | tuple[HloArray, ...]) -> float:
    return sum(array.bytes for array in arrays if array.space == 0)


def _traffic(around: Computation, one: Instruction) -> float:
    """Bytes of HBM that an instruction outside of a fusion reads and writes."""
    if one.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * _in_hbm(one.result)
    if one.opcode in ("dynamic-update-slice", "scatter"):
        return 2 * _in_hbm(list(around.arrays(one.operands[1 if one.opcode == "dynamic-update-slice" else -1])))
    if one.opcode.removesuffix("-start") in COLLECTIVES:
        return 2 * _in_hbm(_operands(around, one))
    if one.opcode == "slice-start":  # a weight that is fetched in pieces: each reads its own, not the whole source
        return one.result[1].bytes + _in_hbm(one.result[1:2])
    if is_product(one):  # whose second result is memory to work in
        return _in_hbm(one.result[:1]) + _in_hbm(_operands(around, one))
    if one.opcode.endswith("-start"):  # a copy on the way: its result names the source and the target
        return _in_hbm(one.result[:2])
    return _in_hbm(one.result) + _in_hbm(_operands(around, one))


def _fusion_traffic(around: Computation, one: Instruction, inner: Computation, others: frozenset[str]) -> float:
    """Bytes of HBM that a fusion reads and writes: of an array that it only takes slices of, the slices.

    ``others`` are collectives in it that began in another fusion, which counts them; this one hands their arrays on.
    """
    if others and inner.root.opcode == "custom-call":
        return 0.0
    total = 0.0
    for number, name in enumerate(one.operands):
        whole = _in_hbm(around.arrays(name))
        parameter = inner.parameter(number)
        total += whole if parameter is None else min(whole, _read(inner, parameter, whole, others))
    return total + _written(inner, one, others)


def _read(inner: Computation, value: Instruction, whole: float, others: frozenset[str]) -> float:
    """How much of an argument the fusion reads."""
    total = 0.0
    for user in inner.users.get(value.name, ()):
        if user.opcode in ("dynamic-slice", "slice", "gather") and user.operands[0] == value.name:
            total += sum(array.bytes for array in user.result)
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == value.name:
            continue
        elif user.opcode == "bitcast":
            total += _read(inner, user, whole, others)
        elif others and (user is inner.root or user.name in others):
            continue
        else:
            return whole
    return total


def _written(inner: Computation, one: Instruction, others: frozenset[str]) -> float:
    """How much of its results a fusion writes: where it changes a slice in place, that alone."""
    roots = [inner.root]
    if inner.root.opcode == "tuple":
        roots = [one for one in map(inner.maker, inner.root.operands) if one is not None]
    if len(roots) != len(one.result):
        return _in_hbm(one.result)
    total = 0.0
    for root, array in zip(roots, one.result, strict=True):
        while root.opcode == "bitcast" and (source := inner.maker(root.operands[0])) is not None:
            root = source
        if array.space or root.name in others or (others and root.opcode == "parameter"):
            continue
        if root.opcode == "dynamic-update-slice":
            total += sum(update.bytes for update in inner.arrays(root.operands[1]))
        else:
            total += array.bytes
    return total


def _flops(around: Computation, one: Instruction) -> float:
    """Floating-point operations of products; of a kernel as many as it says of itself."""
    if one.opcode == "dot":
        left = around.arrays(one.operands[0])[0].shape
        found = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.attributes)
        contracted = [left[int(place)] for place in found[1].split(",") if place] if found else []
        return 2.0 * prod(one.result[0].shape) * prod(contracted)
    if one.opcode == "convolution":
        return _convolution_flops(around, one)
    if one.opcode == "custom-call":
        said = _KERNEL_FLOPS.search(one.attributes)
        return float(said[1]) if said else library_flops(around, one) or _attention_flops(around, one)
    return 0.0


def _attention_flops(around: Computation, one: Instruction) -> float:
    """Those of JAX's splash kernels, which say nothing of themselves: half of all pairs of query and key, as causal."""
    products = next((count for name, count in _ATTENTION.items() if one.name.startswith(name)), 0)
    taken = [array for array in _operands(around, one) if len(array.shape) >= 3 and array.dtype in ("f32", "bf16")]
    if not products or len(taken) < 2:
        return 0.0
    query, key = taken[:2]
    return products * float(prod(query.shape)) * key.shape[-2]


def _convolution_flops(around: Computation, one: Instruction) -> float:
    """Two operations for each element of the filter that meets one of the input, as XLA's own analysis counts.

    TPUs' products are convolutions; a batch axis is a spatial one of which each place meets one place of the filter.
    """
    labels = _LABELS.search(one.attributes)
    if labels is None:
        return 0.0
    left, right = (around.arrays(name)[0].shape for name in one.operands[:2])
    output, (of_left, of_right, of_output) = one.result[0].shape, labels.groups()
    total = 2.0 * output[of_output.index("b")] * output[of_output.index("f")] * right[of_right.index("i")]
    groups = re.search(r"batch_group_count=(\d+)", one.attributes)
    if groups:
        total /= int(groups[1])
    window = _window(one.attributes, sum(label.isdigit() for label in of_output))
    for place, dimension in enumerate(sorted(label for label in of_output if label.isdigit())):
        sizes = (
            left[of_left.index(dimension)],
            right[of_right.index(dimension)],
            output[of_output.index(dimension)],
        )
        total *= _meetings(*sizes, {name: values[place] for name, values in window.items()})
    return total


def _window(attributes: str, dimensions: int) -> dict[str, list[int]]:
    """What ``window={…}`` says of each spatial dimension."""
    found = re.search(r"window=\{([^}]*)\}", attributes)
    said = dict(part.split("=") for part in found[1].split()) if found else {}
    read: dict[str, list[int]] = {}
    for name in ("stride", "lhs_dilate", "rhs_dilate"):
        read[name] = [int(each) for each in said[name].split("x")] if name in said else [1] * dimensions
    pads = said["pad"].split("x") if "pad" in said else ["0_0"] * dimensions
    read["pad"] = [int(each.split("_")[0]) for each in pads]
    return read


def _meetings(left: int, right: int, output: int, window: Mapping[str, int]) -> int:
    """How many places of output and filter meet a place of the input, along one dimension."""
    if right == 1 and window["pad"] == 0:
        return min(output, left)
    places = np.arange(output)[:, None] * window["stride"] - window["pad"]
    places = places + np.arange(right)[None, :] * window["rhs_dilate"]
    inside = (places >= 0) & (places < (left - 1) * window["lhs_dilate"] + 1) & (places % window["lhs_dilate"] == 0)
    return int(inside.sum())


def _exchanged(around: Computation, one: Instruction, kind: str, cost: Cost) -> None:
    """Adds what a collective sends from each device, by the least that any algorithm can."""
    size, group = sum(array.bytes for array in _operands(around, one)), first_group(one.attributes)
    count = max(len(group), 2)
    share = (count - 1) / count
    sent: dict[str, Callable[[], float]] = {
        "all-gather": lambda: size * (count - 1),
        "all-reduce": lambda: 2 * size * share,
        "collective-permute": lambda: size,
        "collective-broadcast": lambda: size,
    }
    exchange = Exchange(kind, group)
    cost.sent[exchange] = sent.get(kind, lambda: size * share)()
    cost.held[exchange] = size * {"all-gather": count, "reduce-scatter": 1 / count}.get(kind, 1)
