"""The alternatives that a field lists, ``{'clipped.clip_high': (0.2, 0.28)}``, each as the override that chooses it.

They are the nodes of the file, not their values: a wrong one is blamed by its own line and column, and a part's name
stands for the part of whichever experiment the override is applied to.
"""

from collections.abc import Mapping, Sequence

from reasoning.experiment.drafts import Drafts
from reasoning.experiment.locations import Location
from reasoning.experiment.nodes import Change, ConstantRead, DictNode, LiteralNode, SequenceNode, ValueNode
from reasoning.experiment.syntax import keyed_override


def alternatives(drafts: Drafts, field: str) -> dict[str, tuple[Change, ...]]:
    """The overrides that a field ``part.field`` lists, by key, both in the order written; none where it isn't bound.

    Takes a field whose built value is a dict of tuples; ``Experiment.vary`` finds a wrong value among them. Raises
    InputError at a key that no override can have.
    """
    return {
        key: tuple(keyed_override(key, _inside(location, key), item) for item in _items(_read(drafts, node)))
        for bound in _bound(drafts, field)
        for key, (location, node) in _entries(bound).items()
    }


def item_locations(drafts: Drafts, field: str) -> tuple[Location, ...]:
    """Where each item of ``part.field`` stands, whose built value is a tuple; none where it isn't bound."""
    return tuple(item.location for bound in _bound(drafts, field) for item in _items(bound))


def _bound(drafts: Drafts, field: str) -> list[ValueNode]:
    """What ``part.field`` is bound to, if anything."""
    part, _, name = field.partition(".")
    binding = drafts.parts[part].bindings.get(name)
    return [] if binding is None else [_read(drafts, binding.value)]


def _read(drafts: Drafts, node: ValueNode) -> ValueNode:
    """What a constant stands for, or the node itself."""
    while isinstance(node, ConstantRead):
        node = drafts.constants[node.name].value
    return node


def _entries(node: ValueNode) -> dict[str, tuple[Location, ValueNode]]:
    if isinstance(node, DictNode):
        return {key: (node.keys[key], item) for key, item in node.entries.items()}
    if isinstance(node, LiteralNode) and isinstance(node.value, Mapping):
        return {key: (node.location, LiteralNode(item, node.location)) for key, item in node.value.items()}
    raise TypeError(f"a dict was expected at {node.location}")


def _items(node: ValueNode) -> Sequence[ValueNode]:
    if isinstance(node, SequenceNode):
        return node.items
    if isinstance(node, LiteralNode) and isinstance(node.value, tuple):
        return [LiteralNode(item, node.location) for item in node.value]
    raise TypeError(f"a tuple was expected at {node.location}")


def _inside(location: Location, key: str) -> Location:
    """The location of a key without its quotes; the whole location where the text isn't written out as it is."""
    word = location.line[location.column : location.column + location.width]
    return location.part(1, len(key)) if word[1:-1] == key else location
