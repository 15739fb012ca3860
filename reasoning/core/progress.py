"""What a stage tells whoever watches it; how it is shown (bars, lines, nothing) is not the stage's business."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One report of a running stage, made as often as the stage likes; the display thins reports out.

    ``step`` of ``steps`` are done. ``values`` are the numbers worth watching, by their metric names (``loss``,
    ``reward``, ``completions/mean_length``), the most telling first. ``tokens`` counts the tokens that this process
    has worked through since the stage started or was resumed, and only serves to show a speed; 0 shows none.
    """

    stage: str
    step: int
    steps: int
    values: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
