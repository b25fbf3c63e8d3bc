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
        runs = [
            (first, next(last for last in range(first, 100) if last + 1 not in all_of_them))
            for first in sorted(all_of_them)
            if first - 1 not in all_of_them
        ]
        assert [*spans] == runs, f"seed {seed}"
