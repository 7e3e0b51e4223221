import json
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnet.datasets.adl import PEOPLE
from harnet.errors import HarnetError
from harnet.evaluation.protocols import FEW_PEOPLE, PROTOCOLS, PUBLISHED, ROBUST
from harnet.evaluation.splits import deal, fixed_folds, make_splits


@given(
    st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=3, max_size=60), st.sampled_from(sorted(PROTOCOLS))
)
def test_nobody_is_in_two_parts_and_all_are_in_one(people: set[str], name: str) -> None:
    protocol = PROTOCOLS[name]
    splits = make_splits(sorted(people), protocol, deal(sorted(people)))
    for split in splits:
        everybody = [*split.train, *split.validation, *split.test]
        assert sorted(everybody) == sorted(people)
        assert min(map(len, (split.train, split.validation, split.test))) >= 1
    tested = [name for split in splits for name in split.test]
    if protocol.disjoint or len(people) <= FEW_PEOPLE:
        assert sorted(tested) == sorted(people), "everybody is tested exactly once"
    else:
        assert len(splits) == 5
        assert all(len(split.test) == max(1, round(0.2 * len(people))) for split in splits)


def test_folds_are_fixed_in_files() -> None:
    folder = resources.files("harnet.evaluation") / "folds"
    for path in folder.iterdir():
        folds = json.loads(path.read_text())
        names = sorted(name for fold in folds for name in fold)
        assert tuple(map(tuple, folds)) == deal(names), "the files say what the rule deals, on every NumPy"
    folds, origin = fixed_folds("adl", sorted(PEOPLE))
    assert origin == "shipped file folds/adl.json"
    assert len(folds) == 7
    assert fixed_folds("adl", ["a", "b", "c"])[1].startswith("dealt by seed")
    assert fixed_folds("../adl", ["a", "b", "c"])[1].startswith("dealt by seed")


def test_published_and_robust_leave_one_of_seven_out() -> None:
    folds, _ = fixed_folds("adl", sorted(PEOPLE))
    for protocol in (PUBLISHED, ROBUST):
        splits = make_splits(sorted(PEOPLE), protocol, folds)
        assert [len(split.test) for split in splits] == [1] * 7
        assert [len(split.validation) for split in splits] == [1] * 7
        assert len({split.validation for split in splits}) == 7, "each person stops one training"


def test_two_people_are_too_few() -> None:
    with pytest.raises(HarnetError, match="2 people: a protocol needs at least three"):
        make_splits(["a", "b"], ROBUST, deal(["a", "b"]))
