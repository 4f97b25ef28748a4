"""Group-OBS the slow way: one block at a time, the whole KKT system of ZK-APEX Eq. 13 and 20 solved densely."""

import numpy as np


def obs_by_kkt(theta: np.ndarray, masked: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Minimise d'Cd/2 subject to d_M = -theta_M for one block (B,); returns theta + d.

    Unknowns (d, lambda): C d + E_M lambda = 0 and E_M' d = -theta_M.
    """
    size, support = len(theta), np.flatnonzero(masked)
    select = np.eye(size)[:, support]
    system = np.block([[curvature, select], [select.T, np.zeros((len(support), len(support)))]])
    right = np.concatenate([np.zeros(size), -theta[support]])
    return theta + np.linalg.solve(system, right)[:size]


def objective(theta: np.ndarray, new: np.ndarray, curvature: np.ndarray) -> float:
    return 0.5 * (new - theta) @ curvature @ (new - theta)
