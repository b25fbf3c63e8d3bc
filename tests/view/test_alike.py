"""Which tasks are drawn as one, and where: pure, so on random graphs by the hundred."""

import itertools
import random

import pytest

from taskcore.view import alike, layers


def random_graph(seed):
    """Names, which are jobs, and for each place what is before it, in no order of the places."""
    r = random.Random(seed)
    size, near = r.choice((1, 5, 30, 120)), r.choice((2, 10, 120))
    names = [r.choice(("fetch", "fit", "total", f"n{node}"[: r.choice((2, 4))])) for node in range(size)]
    places = r.sample(range(size), size)
    above = [{} for _ in range(size)]
    for node in range(1, size):
        for _ in range(r.choice((0, 1, 1, 3))):
            above[places[node]][places[r.randrange(max(0, node - near), node)]] = r.choice(("a", "a", "b"))
    return names, [r.random() < 0.1 for _ in names], above


def acyclic(n, edges):
    left = {node: {one for one, other in edges if other == node} for node in range(n)}
    while left:
        free = [node for node, before in left.items() if not before & left.keys()]
        if not free:
            return False
        for node in free:
            del left[node]
    return True


@pytest.mark.parametrize("most", [1, 4, 60])
def test_tasks_drawn_as_one_are_few_and_their_edges_never_go_round_in_a_circle(most):
    for seed in range(60):
        names, jobs, above = random_graph(seed)
        group = alike.groups(names, jobs, above, (0, 12), most)
        numbers = sorted(set(group))
        assert len(numbers) <= most, seed
        number = {key: its for its, key in enumerate(numbers)}
        edges = {
            (number[group[one]], number[group[other]])
            for other, before in enumerate(above)
            for one in before
            if group[one] != group[other]
        }
        assert acyclic(len(numbers), edges), seed


def test_tasks_of_one_name_that_wait_for_the_same_groups_are_one():
    names = ["fetch"] * 50 + ["fit"] * 50 + ["total"]
    above = [{} for _ in range(50)] + [{n: "plain"} for n in range(50)] + [dict.fromkeys(range(50, 100), "plain")]
    group = alike.groups(names, [False] * 101, above, (40, 12), 60)
    assert [group.count(key) for key in dict.fromkeys(group)] == [50, 50, 1]


def test_a_task_that_wants_something_else_of_the_same_group_is_another_group():
    names = ["fetch"] * 50 + ["fit"] * 50
    above = [{} for _ in range(50)] + [{n: "plain" if n else "failed"} for n in range(50)]
    group = alike.groups(names, [False] * 100, above, (40, 12), 60)
    assert sorted(group.count(key) for key in set(group)) == [1, 49, 50]


def test_a_long_chain_of_one_name_is_one_and_of_two_names_in_turn_is_bands():
    above = [{n - 1: ""} if n else {} for n in range(1000)]
    assert set(alike.groups(["next"] * 1000, [False] * 1000, above, (40, 12), 60)) == {0}
    bands = alike.groups(["a", "b"] * 500, [False] * 1000, above, (40, 12), 60)
    assert bands == sorted(bands) and len(set(bands)) == 16


def test_jobs_of_a_thousand_names_are_one():
    names = [f"night {n}" for n in range(1000)] + ["fetch"] * 1000
    above = [{} for _ in range(1000)] + [{n: "child"} for n in range(1000)]
    group = alike.groups(names, [True] * 1000 + [False] * 1000, above, (40, 12), 60)
    assert sorted(group.count(key) for key in set(group)) == [1000, 1000]
    names[:400] = ["transient"] * 400
    group = alike.groups(names, [True] * 1000 + [False] * 1000, above, (40, 12), 60)
    assert sorted(group.count(key) for key in set(group)) == [400, 400, 600, 600], "but a name that many have stays"


def test_tasks_that_go_round_in_a_circle_in_a_damaged_file_are_put_in_order_all_the_same():
    above = [{2: "", 0: ""}, {0: ""}, {1: ""}, {2: "", 4: ""}, {3: ""}]
    order = alike.in_order(above)
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert all(order.index(one) < order.index(other) for other, before in enumerate(above) for one in before)
    assert sum(map(len, above)) >= 3, "no more is taken out than must be"


def test_every_edge_leads_to_a_later_layer_and_no_two_nodes_stand_on_each_other():
    for seed in range(25):
        _, _, above = random_graph(seed)
        edges = [(one, other) for other, before in enumerate(above) for one in before]
        plan = layers.arrange(len(above), edges)
        for one, other in edges:
            assert plan.at[one][0] < plan.at[other][0], seed
            route = plan.routes[one, other]
            assert (route[0], route[-1]) == (plan.at[one], plan.at[other])
            assert [layer for layer, _ in route] == list(range(int(route[0][0]), int(route[-1][0]) + 1)), seed
        rows = {}
        for layer, across in plan.at:
            rows.setdefault(layer, []).append(across)
        for row in rows.values():
            row.sort()
            assert all(after - before > 0.999 for before, after in itertools.pairwise(row)), seed
            assert row[0] >= 0 and row[-1] <= plan.breadth - 1 + 1e-9


def test_parallel_chains_are_drawn_without_a_crossing_and_straight():
    """Mixed up on purpose."""
    edges = [(n, 20 + (n * 7) % 20) for n in range(20)] + [(20 + n, 40 + (n * 3) % 20) for n in range(20)]
    plan = layers.arrange(60, edges)
    assert all(abs(plan.at[one][1] - plan.at[other][1]) < 1e-6 for one, other in edges)
