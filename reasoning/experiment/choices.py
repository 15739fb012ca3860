"""The alternatives that a field lists, ``{'zero.clip_high': (0.2, 0.28)}``, each as the override that chooses it.

They are the nodes of the file, not their values: a wrong one is blamed by its own line and column, and a part's name
stands for the part of whichever experiment the override is applied to.
"""

from collections.abc import Mapping, Sequence

from reasoning.experiment.drafts import Drafts
from reasoning.experiment.nodes import Change, ConstantRead, Given, Group, Node, Table
from reasoning.experiment.places import Place
from reasoning.experiment.syntax import keyed_override


def choices(drafts: Drafts, part: str, field: str) -> dict[str, tuple[Change, ...]]:
    """The overrides that ``part.field`` offers, by key, both in the order written; none where it isn't bound.

    Takes a field whose built value is a dict of tuples. Raises InputError, with the key's place, for a key that can't
    be one of an override.
    """
    binding = drafts.parts[part].bindings.get(field)
    if binding is None:
        return {}
    found: dict[str, tuple[Change, ...]] = {}
    for key, (place, node) in _entries(_read(drafts, binding.value)).items():
        items = _items(_read(drafts, node))
        found[key] = tuple(keyed_override(key, _inside(place, key), item) for item in items)
    return found


def items(drafts: Drafts, part: str, field: str) -> tuple[Place, ...]:
    """Where each item of ``part.field`` stands, whose built value is a tuple; none where it isn't bound."""
    binding = drafts.parts[part].bindings.get(field)
    return () if binding is None else tuple(item.place for item in _items(_read(drafts, binding.value)))


def _read(drafts: Drafts, node: Node) -> Node:
    """What a constant stands for, or the node itself."""
    while isinstance(node, ConstantRead):
        node = drafts.constants[node.name].value
    return node


def _entries(node: Node) -> dict[str, tuple[Place, Node]]:
    if isinstance(node, Table):
        return {key: (node.keys[key], item) for key, item in node.entries.items()}
    if isinstance(node, Given) and isinstance(node.value, Mapping):
        return {key: (node.place, Given(item, node.place)) for key, item in node.value.items()}
    raise TypeError(f"a dict was expected at {node.place}")


def _items(node: Node) -> Sequence[Node]:
    if isinstance(node, Group):
        return node.items
    if isinstance(node, Given) and isinstance(node.value, tuple):
        return [Given(item, node.place) for item in node.value]
    raise TypeError(f"a tuple was expected at {node.place}")


def _inside(place: Place, key: str) -> Place:
    """The place of a key without its quotes; the whole place where the text isn't written out as it is."""
    word = place.line[place.column : place.column + place.width]
    return place.part(1, len(key)) if word[1:-1] == key else place
