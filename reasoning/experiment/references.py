"""``@module.name`` in experiment files: from text to object and back, and which modules are the user's own."""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from inspect import ismethod
from pathlib import Path
from types import ModuleType

from reasoning.core.errors import InputError
from reasoning.core.user_code import INSTALLED
from reasoning.experiment.locations import Location, error_at, suggestion

_ROOT = __name__.partition(".")[0]


@contextlib.contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Lets ``@my_module.my_reward`` be found in ``folders`` while a file is read.

    The folders stand at the end of ``sys.path``, so that nothing installed is shadowed, and are taken away again
    afterwards. The modules that were imported stay imported, once per process: what a user's module needs from its
    own folder, it must import at its top and not inside a function, and an edited module needs a new process.
    """
    added = [text for text in dict.fromkeys(str(folder.resolve()) for folder in folders) if text not in sys.path]
    sys.path.extend(added)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for text in added:
            if text in sys.path:
                sys.path.remove(text)


def find_object(text: str) -> object:
    """The object that ``@text`` names: of this package where it has it, else of any importable module.

    The longest prefix that is a module is imported, the rest are attributes. Raises InputError, which names no
    location, where there is no such module or attribute and where the import fails.
    """
    misses: list[tuple[ModuleType, str]] = []
    for module, rest in _owners(text):
        target, missing = _attribute(module, rest)
        if missing is None and isinstance(target, ModuleType):
            raise InputError(f"@{text} is a module; name something in it")
        if missing is None:
            return target
        misses.append((module, missing))
    raise InputError(_not_found(text, misses))


def name_of(value: object) -> str | None:
    """The text by which ``@text`` finds this very class, function or enum member, or None where there is none.

    Something of this package is named by its package, ``stages.GRPO``, where the package exports it, otherwise by its
    module; anything else by its module.
    """
    if isinstance(value, Enum):
        owner = name_of(type(value))
        return None if owner is None else f"{owner}.{value.name}"
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name or module not in sys.modules:
        return None
    pieces = module.split(".")
    ours = pieces[0] == _ROOT
    holders = [".".join(pieces[:end]) for end in range(2, len(pieces) + 1)] if ours else [module]
    for holder in (known for known in holders if known in sys.modules):
        target, missing = _attribute(sys.modules[holder], name.split("."))
        # A bound method is made anew at every access.
        if missing is None and (target is value or (ismethod(value) and target == value)):
            text = f"{holder}.{name}".removeprefix(f"{_ROOT}.")
            return text if ours or not _exists(f"{_ROOT}.{pieces[0]}") or find_object(text) is target else None
    return None


def module_of(text: str) -> str | None:
    """The name of the module in which ``find_object(text)`` found something."""
    return next((module.__name__ for module, rest in _owners(text) if _attribute(module, rest)[1] is None), None)


def is_user_module(name: str) -> bool:
    """Whether a module is the user's own: neither of this package, nor Python's, nor installed."""
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if path is None or name.partition(".")[0] in (_ROOT, *sys.stdlib_module_names):
        return False
    return not INSTALLED & set(Path(path).parts)


@dataclass(frozen=True)
class References:
    """What a file's references found: ``texts`` by the object's id, kept with the object so that no other gets it.

    ``found`` are the objects by text, each looked for once.
    """

    texts: dict[int, tuple[object, str]] = field(default_factory=dict)
    found: dict[str, object] = field(default_factory=dict)

    def find(self, text: str, location: Location) -> object:
        """The object that ``@text`` at ``location`` names, remembered together with its text."""
        if text in self.found:
            return self.found[text]
        try:
            _check_same_file(text.partition(".")[0])
            value = self.found[text] = find_object(text)
        except InputError as error:
            raise error_at(str(error), location) from error
        # Literals are written out, and one small int or text may be many things at once.
        if not isinstance(value, bool | int | float | str | tuple | list | dict | None):
            self.texts.setdefault(id(value), (value, text))
        return value

    def text(self, value: object) -> str | None:
        """The text that finds ``value`` again: its own name, else what the file called it, else None."""
        known = self.texts.get(id(value))
        return name_of(value) or (None if known is None else known[1])


def _owners(text: str) -> Iterator[tuple[ModuleType, list[str]]]:
    """The modules in which ``text`` is looked for, ours first, with the names that are left to find there."""
    for full in (f"{_ROOT}.{text}", text):
        module, rest = _longest_module(full)
        # What the package itself offers, such as its ``open``, is for Python and not for files.
        if module is not None and module.__name__ != _ROOT:
            yield module, rest


def _exists(name: str) -> bool:
    if not name.rpartition(".")[2] or "/" in name:  # which Python looks for, and trips over
        return False
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _longest_module(full: str) -> tuple[ModuleType | None, list[str]]:
    names = full.split(".")
    module: ModuleType | None = None
    for count in range(1, len(names) + 1):
        name = ".".join(names[:count])
        is_package = module is None or hasattr(module, "__path__")
        if not is_package or not _exists(name):
            return module, names[count - 1 :]
        module = _imported(name)
    return module, []


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(f"importing {name} failed: {type(error).__name__}: {error}") from error


def _attribute(module: ModuleType, names: list[str]) -> tuple[object, str | None]:
    """What the names lead to, or the first name that is missing."""
    value: object = module
    for name in names:
        try:
            value = getattr(value, name)
        except AttributeError:
            return None, name
    return value, None


def _not_found(text: str, misses: list[tuple[ModuleType, str]]) -> str:
    if misses:
        module, name = misses[0]
        public = [known for known in dir(module) if not known.startswith("_")]
        public += [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", ()))]
        return f"@{text}: {module.__name__} has no '{name}'{suggestion(name, public)}"
    first = text.partition(".")[0]
    ours = [info.name for info in pkgutil.iter_modules(_imported(_ROOT).__path__)]
    return (
        f"@{text}: there is no module '{first}' in {_ROOT}, in this folder or beside the file{suggestion(first, ours)}"
    )


def _check_same_file(name: str) -> None:
    """Refuses a module that an earlier read took from another folder, because a second import would return it."""
    module = sys.modules.get(name)
    loaded = getattr(module, "__file__", None)
    if loaded is None or name == "__main__":
        return
    spec = importlib.machinery.PathFinder.find_spec(name)
    if spec is None or not spec.has_location or spec.origin is None:
        return
    if os.path.realpath(loaded) == os.path.realpath(spec.origin):
        return
    raise InputError(
        f"the module '{name}' was already imported from {loaded}, but here it is {spec.origin}; rename one of them"
    )
