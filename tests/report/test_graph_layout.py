import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from reasoning.findings.workflow import workflow
from reasoning.report.graph_layout import layout, spread


@pytest.fixture(scope="module")
def placed(facts):
    return layout(workflow(facts.stages, facts.evaluations), 100.0, 6.0, 10.0)


def test_boxes_and_corners_of_a_layer_keep_their_distance(placed):
    for layer in placed.layers:
        for one, other in itertools.pairwise(layer):
            widths = [100.0 if isinstance(item, str) else 6.0 for item in (one, other)]
            assert placed.across[other] - placed.across[one] >= sum(widths) / 2 + 10 - 0.11


def test_everything_lies_within_the_width(placed):
    halves = {item: 50 if isinstance(item, str) else 3 for item in placed.across}
    assert min(placed.across[item] - half for item, half in halves.items()) == pytest.approx(0, abs=0.06)
    assert max(placed.across[item] + half for item, half in halves.items()) == pytest.approx(placed.width)


def test_an_arrow_passes_every_layer_between_its_ends_once(placed, facts):
    for arrow in workflow(facts.stages, facts.evaluations).arrows:
        layers = [number for _, number in placed.path(arrow.source, arrow.target)]
        assert layers == list(range(layers[0], layers[-1] + 1)) and len(layers) >= 2


def test_a_run_of_nothing_has_no_width():
    assert layout(workflow((), ()), 100.0, 6.0, 10.0).width == 0


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6), st.data())
def test_places_are_the_nearest_ones_that_keep_the_distances(wanted, data):
    apart = data.draw(st.lists(st.floats(1, 30), min_size=len(wanted) - 1, max_size=len(wanted) - 1))
    strength = data.draw(st.lists(st.floats(0.5, 4), min_size=len(wanted), max_size=len(wanted)))
    found = np.array(spread(wanted, apart, strength))
    assert all(np.diff(found) >= np.array(apart) - 1e-6)
    limits = [{"type": "ineq", "fun": lambda x, k=k: x[k + 1] - x[k] - apart[k]} for k in range(len(apart))]

    def cost(places):
        return float(np.sum(np.array(strength) * (places - np.array(wanted)) ** 2))

    start = np.cumsum([wanted[0], *apart])
    best = minimize(cost, start, constraints=limits, method="SLSQP", options={"maxiter": 300})
    assert cost(found) <= best.fun + 1e-3 * (1 + abs(best.fun))
