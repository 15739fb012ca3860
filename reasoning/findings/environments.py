"""Where and by which settings a run ran: seed, code, devices and libraries, as its stages recorded them."""

import json
from collections.abc import Iterator
from typing import Any

from reasoning.findings.facts import Facts
from reasoning.findings.stages import StageFacts, mapping


def environments(facts: Facts) -> dict[str, dict[str, None]]:
    """Seed, code, libraries and devices, as the stages recorded them; several values where stages differ."""
    values: dict[str, dict[str, None]] = {}
    for stage in facts.stages:
        for name, value in environment(stage):
            values.setdefault(name, {})[value] = None
    return values


def environment(stage: StageFacts) -> Iterator[tuple[str, str]]:
    """What a stage recorded of where it ran: seed, code, devices, libraries."""
    record = stage.record
    if "seed" in record:
        yield "seed", str(record["seed"])
    environments = record.get("environments")
    last = mapping(environments[-1]) if isinstance(environments, list) and environments else {}
    code, device = mapping(last.get("code")), mapping(last.get("device"))
    if code:
        changed = " with changes" if code.get("changed") else ""
        commit = f" (commit {str(code['commit'])[:12]}{changed})" if code.get("commit") else ""
        yield "reasoning", f"{code.get('version') or 'not installed'}{commit}"
    if device:
        yield "devices", f"{device.get('count')} × {device.get('kind')}"
    if "python" in last:
        yield "python", str(last["python"])
    for names in ("libraries", "flags"):
        yield from ((name, str(value)) for name, value in mapping(last.get(names)).items())


def setting_lines(value: Any, name: str = "") -> Iterator[str]:
    """Nested settings as ``optimizer.learning_rate = 0.001``; what a part is comes first, as ``optimizer = @…``."""
    if isinstance(value, dict):
        if "@" in value and name:
            yield f"{name} = @{value['@']}"
        for key, inner in value.items():
            if key != "@":
                yield from setting_lines(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            yield from setting_lines(item, f"{name}[{place}]")
    else:
        yield f"{name} = {json.dumps(value, ensure_ascii=False)}"
