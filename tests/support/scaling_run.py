"""A run whose exam was asked by several methods, written by hand: replies of a model that is right by known counts."""

import json
from pathlib import Path

from written_run import Written, place_of, write_run

from reasoning.evaluation.results import Replies, Results, Score, write_results, write_samples

PROBLEMS, DRAWN = 40, 4
METHODS = [
    {"@": "evaluation.methods.Greedy"},
    {
        "@": "evaluation.selection.Selections",
        "ways": [
            {"@": "evaluation.selection.Majority", "size": 2},
            {"@": "evaluation.selection.Majority", "size": 4},
            {"@": "evaluation.selection.BestOf", "size": 4, "by": {"@": "evaluation.selection.Scored", "score": "own"}},
        ],
        "samples": 0,
        "ks": [4],
    },
    {"@": "evaluation.methods.Beam", "beams": 3},
]


def write_scaling_run(folder: Path) -> Path:
    """Writes it: of 4 samples of 10 tokens the second and third are right, of even problems the first too."""
    exam = Written("exam", "Evaluate", "results", {"checkpoints": []})
    write_run(folder, [exam])
    place = place_of(folder, "exam")
    record = json.loads((place / "artifact.json").read_text())
    record["settings"] |= {"methods": METHODS, "styles": [{"name": "direct"}], "style_methods": METHODS[:1]}
    (place / "artifact.json").write_text(json.dumps(record))
    rows = [row for number in range(PROBLEMS) for row in _rows(number)]
    write_samples(place / "samples.jsonl", rows)
    columns = ("own/pass@1", "own/greedy", "length")
    write_results(place, Results({"base": {name: Score(0.5, 0.4, 0.6, PROBLEMS) for name in columns}}))
    return folder


def _rows(number: int) -> list[Replies]:
    right = (number % 2 == 0, True, True, False)
    return [
        _row(number, "greedy", (number % 2 == 0,), 8),
        _row(number, "greedy", (False,), 2, style="direct"),
        _row(number, "selections", right, 10),
        _row(number, "beam@3", (True,), 9, spent=33),
    ]


def _row(
    number: int, method: str, right: tuple[bool, ...], length: int, style: str = "", spent: int | None = None
) -> Replies:
    return Replies(
        checkpoint="base",
        problem=number,
        question=f"{number}?",
        answer="1",
        kind="sums",
        method=method,
        style=style,
        texts=("=",) * len(right),
        lengths=(length,) * len(right),
        log_probs=(-1.0,) * len(right),
        answers=tuple("1" if each else "0" for each in right),
        scores={"own": tuple(map(float, right))},
        spent=spent,
    )
