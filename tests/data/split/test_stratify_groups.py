"""Shares of images: exact for single ones, whole for copies and groups, and no class without anything to learn."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.in_soak import IN_SOAK

from resnets.data.datasets.dataset import Sample
from resnets.data.split.stratify_groups import _connected_clusters, assign_splits, cluster_indices, find_clusters
from resnets.errors import UserError

MANY = 200 if IN_SOAK else 80  # examples


def labels_of(low: int) -> st.SearchStrategy[list[str]]:
    """Labels of 2 to 5 classes with at least `low` images each."""
    sizes = st.lists(st.integers(low, 40), min_size=2, max_size=5)
    return sizes.map(
        lambda counts: [label for label, count in zip("abcde", counts, strict=False) for _ in range(count)]
    )


GROUPED = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.one_of(st.none(), st.integers(0, 12).map(str))),
    min_size=12,
    max_size=100,
)


def single(labels: list[str]) -> list[str]:
    """Names for contents that are all different."""
    return [f"content {number}" for number in range(len(labels))]


def divided(labels: list[str]) -> Counter[str]:
    return Counter({label: count for label, count in Counter(labels).items() if count > 1})


@given(labels_of(1), st.floats(0.05, 0.45), st.floats(0, 0.45), st.integers(0, 1000))
def test_single_images_are_divided_exactly(labels: list[str], val: float, test: float, seed: int) -> None:
    fractions = {split: fraction for split, fraction in {"val": val, "test": test}.items() if fraction > 0.01}
    try:
        given_ = assign_splits(
            find_clusters(single(labels), list(zip(labels)), [None] * len(labels)), fractions, seed=seed
        )
    except UserError:
        assert len(divided(labels)) == 0 or sum(count - 1 for count in divided(labels).values()) < len(fractions)
        return
    assert sorted(given_) == list(range(len(labels)))
    splits = {split: Counter(labels[number] for number, bin_ in given_.items() if bin_ == split) for split in fractions}
    train = Counter(labels[number] for number, bin_ in given_.items() if bin_ == "train")
    assert set(train) == set(labels)
    for split, fraction in fractions.items():
        for label, count in Counter(labels).items():
            # The rule that train keeps one image takes from classes of a few images only.
            if count > 10:
                assert abs(splits[split][label] - fraction * count) < 1.001
        if min(Counter(labels).values()) > 10:
            assert splits[split].total() == max(round(fraction * len(labels)), 1)


@given(GROUPED, st.integers(2, 5), st.booleans(), st.integers(0, 1000))
@settings(max_examples=MANY)
def test_copies_and_groups_stay_together_and_every_class_can_be_learned(
    rows: list[tuple[str, int, str | None]], folds: int, in_folds: bool, seed: int
) -> None:
    labels = [label for label, _, _ in rows]
    contents = [f"content {content}" for _, content, _ in rows]
    groups = [group for _, _, group in rows]
    together = find_clusters(contents, list(zip(labels)), groups)
    assert sorted(number for cluster in together for number in cluster.members) == list(range(len(rows)))
    try:
        if in_folds:
            bins = assign_splits(together, {}, seed=seed, folds=folds)
        else:
            bins = assign_splits(together, {"val": 0.25, "test": 0.15}, seed=seed)
    except UserError:
        return
    assert sorted(bins) == list(range(len(rows)))
    for marks in (contents, groups):
        splits_of: dict[str, set[str]] = {}
        for number, mark in enumerate(marks):
            if mark is not None:
                splits_of.setdefault(mark, set()).add(bins[number])
        assert all(len(names) == 1 for names in splits_of.values())
    held_out = [f"fold {number}" for number in range(1, folds + 1)] if in_folds else ["val", "test"]
    assert set(held_out) <= set(bins.values())
    for split in held_out:
        others = {"train", *held_out} - {split} if in_folds else {"train"}
        learned = {labels[number] for number, bin_ in bins.items() if bin_ in others}
        assert learned == set(labels)


@given(labels_of(6), st.integers(2, 5), st.integers(0, 1000))
def test_folds_are_as_large_as_each_other_in_every_class(labels: list[str], folds: int, seed: int) -> None:
    bins = assign_splits(
        find_clusters(single(labels), list(zip(labels)), [None] * len(labels)), {}, seed=seed, folds=folds
    )
    sizes = Counter(bins.values())
    assert set(sizes) == {f"fold {number}" for number in range(1, folds + 1)}
    assert max(sizes.values()) - min(sizes.values()) <= 1
    for label in set(labels):
        of_class = Counter(bin_ for number, bin_ in bins.items() if labels[number] == label)
        assert max(of_class.values()) - min(of_class.get(fold, 0) for fold in sizes) <= 1


@given(GROUPED, st.integers(0, 1000), st.randoms())
@settings(max_examples=MANY // 2)
def test_the_order_of_the_images_and_the_names_of_groups_do_not_matter(
    rows: list[tuple[str, int, str | None]], seed: int, shuffler: random.Random
) -> None:
    def splits(order: list[int], prefix: str) -> dict[int, str] | str:
        labels = [rows[number][0] for number in order]
        contents = [f"content {rows[number][1]}" for number in order]
        groups = [None if rows[number][2] is None else f"{prefix}{rows[number][2]}" for number in order]
        try:
            bins = assign_splits(find_clusters(contents, list(zip(labels)), groups), {"val": 0.3}, seed=seed)
        except UserError as error:
            return str(error)
        return {order[index]: split for index, split in bins.items()}

    order = list(range(len(rows)))
    shuffled = order.copy()
    shuffler.shuffle(shuffled)
    assert splits(order, "") == splits(shuffled, "another ")


def test_another_seed_is_another_split() -> None:
    labels = ["a", "b"] * 50
    pool = find_clusters(single(labels), list(zip(labels)), [None] * 100)
    assert assign_splits(pool, {"val": 0.2}, seed=1) == assign_splits(pool, {"val": 0.2}, seed=1)
    assert assign_splits(pool, {"val": 0.2}, seed=1) != assign_splits(pool, {"val": 0.2}, seed=2)


def test_a_class_of_one_image_is_in_train() -> None:
    labels = ["a"] * 10 + ["b"]
    for folds in (0, 3):
        bins = assign_splits(
            find_clusters(single(labels), list(zip(labels)), [None] * 11),
            {} if folds else {"val": 0.5},
            seed=0,
            folds=folds,
        )
        assert bins[10] == "train"


def test_a_thousand_classes_of_two_images_give_a_val_of_a_fifth() -> None:
    labels = [f"class {number // 2}" for number in range(2000)]
    bins = assign_splits(find_clusters(single(labels), list(zip(labels)), [None] * 2000), {"val": 0.2}, seed=5)
    assert Counter(bins.values()) == {"train": 1600, "val": 400}


def test_groups_that_fit_give_the_fractions_within_a_group() -> None:
    generator = random.Random(0)
    groups = [f"patient {number // 5}" for number in range(1000)]
    of_patient = {group: generator.choice("abc") for group in groups}
    labels = [of_patient[group] for group in groups]
    bins = assign_splits(find_clusters(single(labels), list(zip(labels)), groups), {"val": 0.2, "test": 0.1}, seed=0)
    for label, count in Counter(labels).items():
        of_class = Counter(bin_ for number, bin_ in bins.items() if labels[number] == label)
        assert abs(of_class["val"] - 0.2 * count) <= 5
        assert abs(of_class["test"] - 0.1 * count) <= 5


def test_two_groups_are_divided_between_the_splits() -> None:
    groups = ["left"] * 10 + ["right"] * 4
    labels = ["a", "b"] * 7
    bins = assign_splits(find_clusters(single(labels), list(zip(labels)), groups), {"val": 0.1}, seed=0)
    assert {bins[number] for number in range(10)} == {"train"}
    assert {bins[number] for number in range(10, 14)} == {"val"}


def test_one_group_cannot_be_divided() -> None:
    labels = ["a", "b"] * 5
    with pytest.raises(UserError, match="too few images for 'val'"):
        assign_splits(find_clusters(single(labels), list(zip(labels)), ["all"] * 10), {"val": 0.2}, seed=0)
    with pytest.raises(UserError, match="'fold 1'"):
        assign_splits(find_clusters(single(["a", "b"]), [("a",), ("b",)], [None, None]), {}, seed=0, folds=2)


def test_copies_and_groups_have_one_number() -> None:
    given = [("a", None), ("b", "one"), ("a", None), ("c", "one"), (None, None), (None, None), ("c", None)]
    samples = [
        Sample(f"{index}.png", ("red",), group=group, sha256=digest) for index, (digest, group) in enumerate(given)
    ]
    found = cluster_indices(samples).tolist()
    assert found[0] == found[2]
    assert found[1] == found[3] == found[6]
    assert len(set(found)) == 4


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([None, "1", "2", "3"])), min_size=1))
def test_units_of_many_images_equal_those_of_few(given_: list[tuple[str, str | None]]) -> None:
    contents, groups = (np.array(each) for each in zip(*[(a, int(b or 0)) for a, b in given_], strict=True))
    samples = [Sample("x", ("red",), group=group, sha256=digest) for digest, group in given_]
    few, many = cluster_indices(samples).tolist(), _connected_clusters(contents, groups).tolist()
    assert [few.index(each) for each in few] == [many.index(each) for each in many]


def subsets(names: str, most: int) -> st.SearchStrategy[set[str]]:
    """As `st.sets`, by a single draw, which is much quicker."""
    sizes = range(most + 1)
    return st.sampled_from([set(each) for size in sizes for each in itertools.combinations(names, size)])


LABEL_SETS = st.lists(
    st.tuples(subsets("abcde", 4), st.integers(0, 60), st.one_of(st.none(), st.integers(0, 20))),
    min_size=10,
    max_size=80,
)


@given(LABEL_SETS, st.sampled_from([0, 3]), st.integers(0, 1000), st.randoms())
@settings(max_examples=MANY)
def test_images_with_several_classes_or_none_are_split_by_content(
    rows: list[tuple[set[str], int, int | None]], folds: int, seed: int, shuffler: random.Random
) -> None:
    def splits(order: list[int]) -> dict[int, str] | str:
        chosen = [rows[index] for index in order]
        contents, groups = [f"content {row[1]}" for row in chosen], [row[2] and f"group {row[2]}" for row in chosen]
        clusters = find_clusters(contents, [tuple(row[0]) for row in chosen], groups)
        try:
            assigned = assign_splits(clusters, {} if folds else {"val": 0.3}, seed=seed, folds=folds)
        except UserError as error:
            return str(error)
        assert all(len({assigned[index] for index in cluster.members}) == 1 for cluster in clusters)
        for name in set().union(*(row[0] for row in chosen)):
            used = {assigned[index] for index, row in enumerate(chosen) if name in row[0]}
            assert "train" in used or len(used) > 1  # it can be learned, whichever fold is held out
        return {order[index]: split for index, split in assigned.items()}

    order = list(range(len(rows)))
    assigned = splits(order)
    assert isinstance(assigned, str) or sorted(assigned) == order
    shuffler.shuffle(order)
    assert splits(order) == assigned


@settings(max_examples=MANY)
@given(
    st.lists(subsets("abcd", 4), min_size=60, max_size=200),
    st.sampled_from([1, 4]),
    st.integers(0, 1000),
)
def test_every_class_has_its_fraction_where_images_have_several(
    label_sets: list[set[str]], group_size: int, seed: int
) -> None:
    groups = [f"group {index // group_size}" for index in range(len(label_sets))]
    clusters = find_clusters(single(list(groups)), [tuple(each) for each in label_sets], groups)
    assigned = assign_splits(clusters, {"val": 0.2, "test": 0.1}, seed=seed)
    for split, fraction in (("val", 0.2), ("test", 0.1)):
        for name in "abcd":
            images = [index for index, names in enumerate(label_sets) if name in names]
            largest = max((dict(cluster.labels).get(name, 0) for cluster in clusters), default=0)
            difference = sum(assigned[index] == split for index in images) - fraction * len(images)
            assert abs(difference) <= 2 * largest + 1


def test_images_without_labels_are_divided_by_the_fractions() -> None:
    for folds in (0, 5):
        clusters = find_clusters(single([""] * 100), [()] * 100, [None] * 100)
        assigned = assign_splits(clusters, {} if folds else {"val": 0.2}, seed=1, folds=folds)
        expected = {f"fold {number}": 20 for number in range(1, 6)} if folds else {"train": 80, "val": 20}
        assert Counter(assigned.values()) == expected
