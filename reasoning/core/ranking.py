"""How well numbers put what is right before what is wrong."""

import math

import numpy as np
from scipy import stats


def ranked_right(values: np.ndarray, right: np.ndarray) -> float:
    """How often of a right and a wrong one, drawn by chance, the right one has the higher value; ties count half.

    The area under the ROC curve, from the ranks of all (Mann and Whitney 1947). NaN where all are of one kind.
    """
    count, wrong = int(right.sum()), int((~right).sum())
    if not count or not wrong:
        return math.nan
    ranks = stats.rankdata(values)
    return float((ranks[right].sum() - count * (count + 1) / 2) / (count * wrong))
