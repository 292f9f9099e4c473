"""Whole numbers in proportion, that add up exactly: pure.

Both ways here round by largest remainder. Before remainders are compared, each is divided by a lot: a fixed number,
drawn once, by hash, for this group at this shape. Without it the leftover of every small group would go to the shape
with the largest weight, and a thousand groups of one user job each would all go there; with it they spread as the
weights say. A lot never changes, so one more user job moves few numbers.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Sequence

Lot = Callable[[int], float]


def draw(words: str) -> float:
    """Returns the lot of these words: above 0, exponentially distributed.

    The largest weight / lot of some candidates is then each of them as often as its weight says (weighted rendezvous
    hashing), and a candidate that comes or goes moves no other.
    """
    number = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=6).digest(), "big")
    return -math.log((number + 0.5) / 2.0**48)


def split(total: int, weights: Sequence[int], lot: Lot) -> list[int]:
    """Returns integers in proportion to `weights` that add up to `total`, each within one of its exact part.

    Args:
        total: Not negative.
        weights: Not negative; without any above zero nothing is given.
        lot: By position.
    """
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    rest = total - sum(parts)
    if rest:
        remainders = [(index, total * weight % whole) for index, weight in enumerate(weights)]
        chances = [(remainder / whole / lot(index), index) for index, remainder in remainders if remainder]
        for _, index in heapq.nlargest(rest, chances):
            parts[index] += 1
    return parts


def ration(wishes: Sequence[int], costs: Sequence[int], room: int, lot: Lot) -> list[int]:
    """Returns the wishes cut in proportion until they fit into a room together; what is left over goes one by one.

    Args:
        wishes: How many each wants.
        costs: The room that one of each takes, above 0.
        room: For all of them.
        lot: By position.
    """
    asked = sum(map(int.__mul__, wishes, costs))
    if asked <= room:
        return list(wishes)
    given = [wish * room // asked for wish in wishes]
    left = room - sum(map(int.__mul__, given, costs))
    chances = [
        (wish * room % asked / asked / lot(index), index) for index, wish in enumerate(wishes) if given[index] < wish
    ]
    for _, index in sorted(chances, reverse=True):
        if costs[index] <= left:
            given[index] += 1
            left -= costs[index]
    return given
