"""Many small problems on several processors: one thread for each part of them, and none inside.

torch shares out every single operation. Where matrices are tiny, threads inside an operation cost more than they
save (an eigendecomposition of 64 x 64 takes several times as long with two); whole parts side by side do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def each(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """The function's result for every part, in order, as many at once as torch may use threads.

    Each runs with one torch thread; afterwards torch has as many as before. The first exception is raised.
    """
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        return [function(part) for part in parts]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, parts))
    finally:
        torch.set_num_threads(before)
