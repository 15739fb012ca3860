"""Series of numbers over steps."""

Points = tuple[tuple[float, float], ...]
"""(step, value) in the order of steps."""


def thinned(points: Points, most: int) -> Points:
    """At most so many points: means of neighbours, each at the step of the last of them."""
    size = -(-len(points) // most)
    if size <= 1:
        return points
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return tuple((part[-1][0], sum(value for _, value in part) / len(part)) for part in parts)
