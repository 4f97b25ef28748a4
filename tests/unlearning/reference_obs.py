"""Group-OBS the slow way: one block at a time, the whole KKT system of ZK-APEX Eq. 13 and 20 solved densely."""

import numpy as np


def obs_by_kkt(theta, masked, curvature, rows=None, push=None, stiffness=None):
    """Minimise d'Cd/2 subject to d_M = -theta_M for one block (B,); returns theta + d.

    Unknowns (d, lambda): C d + E_M lambda = 0 and E_M' d = -theta_M. With forget directions `rows` (q, B), of
    which only the unmasked part counts, either U d = push as well (`stiffness` None), or a term
    stiffness/2 |U d - push|^2 in the objective.
    """
    size, support = len(theta), np.flatnonzero(masked)
    constraints, values = np.eye(size)[:, support], -theta[support]
    right = np.zeros(size)
    if rows is not None:
        seen = np.where(masked, 0.0, rows)
        if stiffness is None:
            constraints, values = np.hstack([constraints, seen.T]), np.concatenate([values, push])
        else:
            curvature = curvature + stiffness * seen.T @ seen
            right = stiffness * seen.T @ push
    count = constraints.shape[1]
    system = np.block([[curvature, constraints], [constraints.T, np.zeros((count, count))]])
    return theta + np.linalg.solve(system, np.concatenate([right, values]))[:size]


def objective(theta: np.ndarray, new: np.ndarray, curvature: np.ndarray) -> float:
    return 0.5 * (new - theta) @ curvature @ (new - theta)
