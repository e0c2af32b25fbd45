"""Arithmetic that answers NaN, which means missing, where there is no answer."""

import math

import numpy as np

MISSING = float("nan")


def ratio(part: float, whole: float) -> float:
    """part / whole; missing if whole is not positive."""
    return part / whole if whole > 0 else MISSING


def log_ratio(a: float, b: float) -> float:
    """log(a / b); missing unless both are positive."""
    return math.log(a / b) if a > 0 and b > 0 else MISSING


def root(value: float) -> float:
    """√value; missing stays missing."""
    return math.sqrt(value)


def mean(values: np.ndarray) -> float:
    """The mean of the finite values; missing if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else MISSING
