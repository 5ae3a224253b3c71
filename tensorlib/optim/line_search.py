"""A line search for the strong Wolfe conditions.

References
----------
Nocedal and Wright, "Numerical Optimization", 2nd ed., algorithms 3.5 and 3.6 and
equation 3.59 (the cubic); safeguards as in Schmidt's minFunc, which PyTorch follows.
"""

import math
from dataclasses import dataclass

from tensorlib.core.tensor import Tensor

__all__ = ["Point", "strong_wolfe"]

ARMIJO = 1e-4  # share of the predicted decrease that is asked for
CURVATURE = 0.9  # share of the first slope that may be left


@dataclass(frozen=True)
class Point:
    """Where a step along the direction leads."""

    step: float
    loss: float
    grad: Tensor
    slope: float  # derivative of the loss along the direction


def _cubic_minimum(a, b, bounds=None):
    """Return the step at the minimum of the cubic through two points, in bounds."""
    low, high = bounds or sorted((a.step, b.step))
    if a.step > b.step:
        a, b = b, a
    if a.step == b.step:
        return (low + high) / 2.0
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    d2 = math.sqrt(square)
    bottom = b.slope - a.slope + 2 * d2
    if bottom == 0:
        return (low + high) / 2.0
    best = b.step - (b.step - a.step) * ((b.slope + d2 - d1) / bottom)
    return min(max(best, low), high)


def strong_wolfe(evaluate, start, step, width, tolerance=1e-9, max_evaluations=25):
    """Find a step with enough decrease and a small slope.

    Parameters
    ----------
    evaluate : callable
        Gives the `Point` at a step.
    start : Point
        Step 0.
    step : float
        The first trial.
    width : float
        Largest element of the direction, in absolute value.
    tolerance : float, default 1e-9
        The search ends when a bracket moves no parameter by more.
    max_evaluations : int, default 25
        The search ends after so many trials after the first.

    Returns
    -------
    Point
        The best found.
    """
    bracket, trials, done = _bracket(evaluate, start, step, max_evaluations)
    if not done:
        bracket = _zoom(
            evaluate, start, bracket, trials, width, tolerance, max_evaluations
        )
    return min(bracket, key=lambda point: point.loss)


def _too_high(start, point):
    return point.loss > start.loss + ARMIJO * point.step * start.slope


def _flat_enough(start, point):
    return abs(point.slope) <= -CURVATURE * start.slope


def _bracket(evaluate, start, step, limit):
    """Lengthen the step until a good one is between two points, or is found."""
    last, point = start, evaluate(step)
    for trials in range(max(limit, 0)):
        if _too_high(start, point) or (trials > 1 and point.loss >= last.loss):
            return [last, point], trials, False
        if _flat_enough(start, point):
            return [point], trials, True
        if point.slope >= 0:
            return [last, point], trials, False
        least = point.step + 0.01 * (point.step - last.step)
        longer = _cubic_minimum(last, point, (least, point.step * 10))
        last, point = point, evaluate(longer)
    return [start, point], max(limit, 0), False


def _zoom(evaluate, start, bracket, trials, width, tolerance, limit):
    """Shrink a bracket around a good step; its better end is the result."""
    stalled = False
    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    while trials < limit:
        left, right = sorted(point.step for point in bracket)
        if (right - left) * width < tolerance:
            break
        step, stalled = _inside(_cubic_minimum(*bracket), left, right, stalled)
        point = evaluate(step)
        trials += 1
        if _too_high(start, point) or point.loss >= bracket[low].loss:
            bracket[high] = point
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        done = _flat_enough(start, point)
        if not done and point.slope * (bracket[high].step - bracket[low].step) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = point
        if done:
            break
    return bracket[low], bracket[high]


def _inside(step, left, right, stalled):
    """Keep a trial off the ends of the bracket when it stays close to one twice."""
    margin = 0.1 * (right - left)
    if min(right - step, step - left) >= margin:
        return step, False
    if not stalled and left < step < right:
        return step, True
    near_right = abs(step - right) < abs(step - left)
    return (right - margin if near_right else left + margin), False
