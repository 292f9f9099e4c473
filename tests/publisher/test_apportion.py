from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.publisher.apportion import draw, ration, split

lots = [draw(str(index)) for index in range(40)]
weights = st.lists(st.integers(0, 10**6), max_size=40)
wishes_ = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)), max_size=40)


@given(st.integers(0, 10**6), weights)
def test_parts_add_up_and_are_within_one_of_what_is_exact(total, given_weights):
    parts = split(total, given_weights, lots.__getitem__)
    whole = sum(given_weights)
    assert sum(parts) == (total if whole else 0)
    assert all(abs(part * whole - total * weight) < whole for part, weight in zip(parts, given_weights) if whole)
    assert not any(part for part, weight in zip(parts, given_weights) if not weight)


def test_without_a_lot_to_tell_them_apart_the_largest_remainder_wins():
    assert split(2, [26, 44, 30], lambda _: 1.0) == [0, 1, 1]


@given(wishes_, st.integers(0, 10_000))
def test_rations_fit_and_leave_no_room_for_one_more(wishes, room):
    counts, costs = [count for count, _ in wishes], [cost for _, cost in wishes]
    granted = ration(counts, costs, room, lots.__getitem__)
    left = room - sum(count * cost for count, cost in zip(granted, costs))
    assert left >= 0
    assert all(0 <= given_ <= wish for given_, wish in zip(granted, counts))
    if granted != counts and left:
        # One each was tried for all that were cut; what is left is less than the cheapest that got nothing on top.
        cut = [index for index, wish in enumerate(counts) if granted[index] < wish]
        exact = [counts[index] * room // sum(count * cost for count, cost in wishes) for index in cut]
        assert all(costs[index] > left for index, base in zip(cut, exact) if granted[index] == base)


def test_wishes_that_fit_are_granted():
    assert ration([3, 4], [1, 2], 11, lots.__getitem__) == [3, 4]


@pytest.mark.parametrize("words", ["", "g00000001/north/cpu", "ü"])
def test_a_lot_is_fixed_and_above_zero(words):
    assert draw(words) == draw(words) > 0


def test_lots_choose_as_often_as_the_weights_say():
    won = sum(max((3 / draw(f"{number}/a"), "a"), (1 / draw(f"{number}/b"), "b"))[1] == "a" for number in range(2000))
    assert 1420 < won < 1580
