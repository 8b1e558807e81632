"""Where canaries are in a load."""

from collections import Counter

import pytest

from mls.load.canaries.plan import CanaryPlan
from mls.load.workload.builder import Prompt


@pytest.mark.parametrize("every", [2, 3, 8])
def test_one_of_so_many_requests_is_a_canary_and_each_has_its_turn(every):
    plan = CanaryPlan(tuple(Prompt(str(n)) for n in range(4)), every, seed=7)
    blocks = [[plan.number(every * block + at) for at in range(every)] for block in range(64)]
    assert all(sum(number is not None for number in block) == 1 for block in blocks)
    turns = Counter(number for block in blocks for number in block if number is not None)
    assert turns == {0: 16, 1: 16, 2: 16, 3: 16}
    places = {at for block in blocks for at, number in enumerate(block) if number is not None}
    assert places == set(range(every))
    assert plan.number(-1) is None
