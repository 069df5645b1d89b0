import numpy as np
import pytest

from ganlib.config import ConfigError
from ganlib.datasets.splits import cut_families
from ganlib.datasets.variants import Emoji, alike, families

# code points, names as two sets have them, group
FARMER = [("1F468-200D-1F33E", "man farmer"), ("1F469-200D-1F33E", "WOMAN FARMER"), ("1F9D1-200D-1F33E", "farmer")]
SURFER = [("1F3C4", "SURFER"), ("1F3C4-200D-2640-FE0F", "WOMAN SURFING"), ("1F3C4-200D-2642-FE0F", "MAN SURFING"),
          ("1F3C4-1F3FD", "surfer: medium skin tone")]
RUNNER = [("1F3C3", "RUNNER"), ("1F3C3-200D-27A1-FE0F", "PERSON RUNNING FACING RIGHT"),
          ("1F3C3-200D-2640-FE0F-200D-27A1-FE0F", "woman running: facing right")]
PEOPLE = [("1F468", "man"), ("1F476", "baby"), ("1F46A", "FAMILY"), ("1F468-200D-1F469-200D-1F466", "family: man, …")]
SIGNS = [("2640-FE0F", "female sign"), ("2642-FE0F", "male sign")]
ARROWS = [("27A1-FE0F", "right arrow"), ("2B05-FE0F", "left arrow")]
KISS = [("1F48F", "kiss"), ("1F469-200D-2764-FE0F-200D-1F48B-200D-1F468", "kiss: woman, man")]
COUPLE = [("1F491", "couple with heart"), ("1F469-200D-2764-FE0F-200D-1F469", "couple with heart: woman, woman")]
HANDS = [("1F46B", "woman and man holding hands"), ("1F46D", "women holding hands"),
         ("1F9D1-200D-1F91D-200D-1F9D1", "people holding hands")]
CLAUS = [("1F385", "FATHER CHRISTMAS"), ("1F936", "MOTHER CHRISTMAS"), ("1F9D1-200D-1F384", "MX CLAUS")]
OWN = [("E040", "gardener man"), ("E041", "gardener woman")]  # of OpenMoji alone: known by their names
ALONE = [[pair] for pair in [
    ("1F33E", "sheaf of rice"), ("1F4BB", "laptop"), ("2764-FE0F", "red heart"), ("1F48B", "kiss mark"),
    ("1F91D", "handshake"), ("1F3FB", "light skin tone"),
    ("1F3FC", "medium-light skin tone"),
    ("1F384", "Christmas tree"), ("1F37C", "baby bottle"), ("1F600", "grinning face"), ("1F603", "smiling face")]]


def test_variants_of_gender_age_skin_and_direction_are_one_family_and_nothing_else_is():
    known = [FARMER, SURFER, RUNNER, PEOPLE, KISS, COUPLE, HANDS, CLAUS, OWN, ARROWS, SIGNS, *ALONE]
    flat = [(code, name, truth) for truth, those in enumerate(known) for code, name in those]
    order = np.random.default_rng(0).permutation(len(flat))
    codes, names, truths = zip(*(flat[place] for place in order), strict=True)
    found = families(codes, names, ["group"] * len(codes))
    assert {(one == other) == (mine == theirs) for one, mine in zip(found, truths, strict=True)
            for other, theirs in zip(found, truths, strict=True)} == {True}


def test_the_same_name_in_another_group_is_another_emoji():
    assert families(["E1", "E2", "E3"], ["drop", "drop", "the drop"], ["a", "b", "b"]) == ["E1", "E2", "E3"]


def test_no_family_lies_in_two_splits_whose_sizes_are_as_wanted():
    chance = np.random.default_rng(0)
    kinds = [f"family {k}" for k in chance.integers(0, 400, 1000)] + ["crowd"] * 150
    splits = cut_families(kinds, {"test": 200, "validation": 100}, 0)
    assert {split: len(those) for split, those in splits.items()} == {"test": 200, "validation": 100, "train": 850}
    assert sorted(np.concatenate(list(splits.values()))) == list(range(1150))
    sets = [{kinds[place] for place in those} for those in splits.values()]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    again = cut_families(kinds[::-1], {"test": 200, "validation": 100}, 0)
    assert {kinds[::-1][place] for place in again["test"]} == sets[0]  # whatever the order
    assert {kinds[place] for place in cut_families(kinds, {"test": 200, "validation": 100}, 1)["test"]} != sets[0]


def test_shares_and_sizes_are_checked():
    for options, message in (({"test_share": 0}, "test_share: above 0"), ({"validation_share": 0.9}, "at least 0, and"),
                             ({"resolution": 4}, "resolution: 8 … 1024")):
        with pytest.raises(ConfigError, match=message):
            Emoji(**options)
    assert sorted(Emoji(test_share=0.2).split([f"{k}" for k in range(50)])) == ["test", "train"]  # too few to choose by
    with pytest.raises(ConfigError, match="9 emoji that are no variants of 1 are too few for a split test"):
        Emoji().split(["a"] * 9)
    with pytest.raises(ConfigError, match="too few for a split source"):
        Emoji().split(["a"] * 9 + ["b"], halves=True)


def test_what_is_drawn_alike_is_one_family_whatever_it_is_called():
    """Lines that differ by a level here and there, and not those of another drawing."""
    random = np.random.default_rng(0)
    first, second = random.integers(0, 2, (2, 1, 16, 16)).astype(np.uint8) * 254
    drawings = np.stack([first, second, first + 1, first])
    assert alike(drawings) == [(0, 2), (0, 3), (2, 3)]
    found = families(["2764", "1F600", "1F499", "1F49A"], ["red heart", "face", "blue heart", "green heart"],
                     ["heart", "face", "heart", "heart"], [drawings])
    assert found == ["2764", "1F600", "2764", "2764"]
    many = random.integers(0, 256, (600, 1, 8, 8)).astype(np.uint8)
    many[590] = many[3]
    assert alike(many) == [(3, 590)]
