"""``python same_results.py ONE OTHER``: whether two runs of several processes have left the same, to the last bit.

Parameters are compared as the models' own reader gives them, since a checkpoint of several processes can't be read back
onto the very devices that wrote it; intermediate checkpoints are left out, of which a stop leaves some more.
"""

import json
import sys
from pathlib import Path

import reasoning
from reasoning.core.hashes import hash_tree


def left(out: Path) -> dict[str, object]:
    """What lies in a run's artifacts, by name: files by their bytes, models by one hash over their parameters."""
    found: dict[str, object] = {}
    storage = {path.parent for path in out.rglob("orbax.checkpoint")}
    for path in sorted(path for path in (out / "artifacts").rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if path.name == "timings.jsonl" or "/checkpoints/" in name or storage.intersection(path.parents):
            continue
        found[name] = path.read_bytes()
        if path.name == "artifact.json":
            found[name] = {key: value for key, value in json.loads(path.read_bytes()).items() if key != "environments"}
    run = reasoning.open(out)
    models = [name for name in run if run[name].kind == "checkpoint"]
    return found | {f"parameters of {name}": hash_tree(run[name].model().params) for name in models}


def main(one: str, other: str) -> int:
    """Says what differs; 1 where anything does, or where there was nothing to compare."""
    first, second = left(Path(one)), left(Path(other))
    changed = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    hashes = {name: value for name, value in first.items() if name.startswith("parameters")}
    sys.stdout.write(f"{len(first)} files and models; differ: {', '.join(changed) or 'none'}; {hashes}\n")
    return int(bool(changed) or not hashes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
