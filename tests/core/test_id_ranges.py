import random

from taskcore.core.id_ranges import Spans


def test_ids_one_by_one_and_many_at_once_are_the_runs_that_they_make():
    for seed in range(200):
        dice, spans, all_of_them = random.Random(seed), Spans(), set()
        for _ in range(dice.randrange(12)):
            first = dice.randrange(60)
            ids = range(first, first + dice.randrange(20))
            if dice.random() < 0.5:
                spans.extend(ids)
            else:
                for number in ids:
                    spans.add(number)
            all_of_them.update(ids)
        runs = [*spans]
        inside = {number for first, last in runs for number in range(first, last + 1)}
        assert inside == all_of_them, f"seed {seed}: {runs}"
