"""Values, visits and choices in the tree, recomputed by hand."""

import math

import numpy as np
import pytest

from stages.text.search.tree import Node, Options, best_child, select, update


def grown(*names):
    root = Node()
    for name in names:
        root.adopt(Node(text=name, tokens=1, depth=1))
    return root, *root.children


def test_a_score_counts_for_its_path_and_a_part_of_it_for_similar_siblings():
    root, one, two, three = grown("a", "b", "c")
    options = Options()
    update([root, one], 1.0, [np.array([1.0, 0.0])], options)
    update([root, two], -1.0, [np.array([0.6, 0.8])], options)  # cosine 0.6: not similar
    update([root, three], -0.5, [np.array([1.0, 0.1])], options)
    part = 0.2 * 1 / math.sqrt(1.01)  # gamma times the cosine, 0.995
    assert one.value == pytest.approx((1.0 - 0.5 * part) / (1 + part))
    assert (one.weight, one.visits) == (pytest.approx(1 + part), 1)
    assert (two.value, two.weight, two.visits) == (-1.0, 1.0, 1)
    assert (three.value, three.weight, three.visits) == (-0.5, 1.0, 1)
    assert (root.value, root.visits) == (pytest.approx(-0.5 / 3), 3)
    # Again behind the first: its vector is a mean, (0.5, 0.5), and is no longer like the third's.
    update([root, one], 0.0, [np.array([0.0, 1.0])], options)
    assert one.value == pytest.approx((1.0 - 0.5 * part) / (2 + part))
    assert list(one.vector) == [0.5, 0.5] and three.weight == 1.0


def test_without_vectors_or_a_share_no_sibling_learns():
    for options, vectors in ((Options(), []), (Options(share=0), [np.array([1.0, 0.0])])):
        root, one, two = grown("a", "b")
        update([root, one], 1.0, vectors, options)
        update([root, two], -1.0, vectors, options)
        assert [one.value, two.value] == [1.0, -1.0]


def test_all_nodes_of_a_path_learn():
    root, one = grown("a")
    one.adopt(Node(text="ab", tokens=2, depth=2))
    update([root, one, one.children[0]], 0.5, [], Options())
    update([root, one], -0.5, [], Options())
    assert [node.value for node in (root, one, one.children[0])] == [0.0, 0.0, 0.5]


def test_the_next_to_look_at_is_of_high_value_or_likely():
    """(value + 1) / 2 + 2 * chance * sqrt(visits of the parent) / (1 + own visits)."""
    root, likely, rare = grown("a", "b")
    likely.chosen = 9
    update([root], 0.0, [], Options())
    assert select(root, 2.0, is_root=False) is likely  # 1.8 against 0.2
    for _ in range(8):
        update([root, likely], -1.0, [], Options())
    # 0 + 2 * 0.9 * 3 / 9 = 0.6, against 2 * 0.1 * 3 = 0.6 less what rounding takes: then the value
    update([root, likely], -1.0, [], Options())
    assert 2 * 0.9 * math.sqrt(10) / 10 < 2 * 0.1 * math.sqrt(10)
    assert select(root, 2.0, is_root=False) is rare
    root, likely, rare = grown("a", "b")
    likely.chosen = 9
    for _ in range(3):
        update([root, likely], -1.0, [], Options())
    # Chances 0.9 and 0.1; at the root a quarter is equal: 0.8 and 0.2.
    away, at_root = (0.9 / 4, 0.1), (0.8 / 4, 0.2)
    assert away[0] > away[1] and at_root[0] == pytest.approx(at_root[1])
    assert select(root, 2.0, is_root=False) is likely
    update([root, likely], -1.0, [], Options())
    assert 0.8 / 5 < 0.2 and select(root, 2.0, is_root=True) is rare


def test_the_set_that_was_visited_most_is_kept():
    root, one, two, three = grown("a", "b", "c")
    for node, score in ((one, 1.0), (two, -1.0), (two, 0.0), (three, 0.0), (three, 0.0)):
        update([root, node], score, [], Options())
    assert best_child(root) is three


def test_a_set_drawn_again_is_likelier_and_no_second_child():
    root, *_ = grown("a", "b")
    root.adopt(Node(text="a", tokens=1))
    root.adopt(Node(text="a", ended="stop"))  # here the answer ends: another one
    assert [(node.text, node.chosen) for node in root.children] == [("a", 2), ("b", 1), ("a", 1)]
