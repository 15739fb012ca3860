"""Series of numbers over steps, thinned."""

from reasoning.core.series import thinned

MOST = 600


def test_many_points_become_means_of_neighbours():
    points = tuple((float(step), float(step % 2)) for step in range(10 * MOST))
    few = thinned(points, MOST)
    assert len(few) == MOST and few[-1][0] == points[-1][0] and {value for _, value in few} == {0.5}
    assert thinned(points[:9], MOST) == points[:9]
