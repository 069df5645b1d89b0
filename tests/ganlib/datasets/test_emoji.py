import json

import numpy as np
import pytest
from PIL import Image

from ganlib.condition import Condition
from ganlib.config import ConfigError
from ganlib.datasets import emoji
from ganlib.datasets.table import Table, read_manifest

NAMES = [(f"1F{k:03X}", f"THING {k}") for k in range(60)]
NAMES += [("1F468-200D-1F33E", "MAN FARMER"), ("1F469-200D-1F33E", "WOMAN FARMER"), ("1F9D1-200D-1F33E", "FARMER")]


@pytest.fixture
def packages(tmp_path):
    """In both, emoji k is k + 1 in its red, and has a line at height k; Noto's green is 0 and Twemoji's 200. Of several
    modes."""
    rows = [{"unified": code, "image": f"{code.lower()}.png", "name": name, "subcategory": "s", "has_img_google": True,
             "has_img_twitter": True, "sort_order": 1} for code, name in NAMES]
    rows.append(rows[0] | {"unified": "1F9FF", "image": "1f9ff.png", "has_img_twitter": False})
    for name, green in (("google", 0), ("twitter", 200)):
        folder = tmp_path / "modules" / f"emoji-datasource-{name}" / "img" / name / "64"
        folder.mkdir(parents=True)
        (folder.parents[2] / "emoji.json").write_text(json.dumps(rows))
        for k in range(len(NAMES)):
            image = Image.new("RGBA", (64, 64), (k + 1, green, 0, 255))
            image.putpixel((0, 0), (0, 0, 0, 0))
            image.paste((255, 255, 255, 255), (40, k, 64, k + 1))
            (image.quantize(4) if k % 2 else image).save(folder / rows[k]["image"])
    return tmp_path / "modules"


def config(packages, **options):
    return emoji.Config(**{"path": str(packages), "resolution": 64, "test_share": 0.2, **options})


def test_no_emoji_is_in_both_halves_and_the_pairs_of_the_test_split_are_known(packages, tmp_path):
    seen = []
    emoji.prepare(config(packages), tmp_path / "t", lambda *progress: seen.append(progress), seen.append)
    train, test = (Table.open(tmp_path / "t", split) for split in ("train", "test"))
    assert seen[0] == {"train": len(train), "test": len(test)} and seen[-1] == (63, 63)
    assert (len(train), len(train.conditions), len(test), len(test.conditions)) == (25, 25, 13, 13)
    assert train.condition == test.condition == Condition("image", 3, (64, 64), False) == config("x").expected[1]
    assert not train.paired and test.paired

    def which(images):
        return [int(image[0, 32, 32]) - 1 for image in images]

    there, here, tests = which(train.conditions), which(train.images), which(test.images)
    assert sorted(there + here + tests) == list(range(63)) and which(test.conditions) == tests
    assert all(len({60, 61, 62} & set(those)) in (0, 3) for those in (there, here, tests))  # the farmers stay together
    for told, painted in ((train.conditions, train.images), (test.conditions, test.images)):
        assert (told[:, 1, 32, 32] == 0).all() and (painted[:, 1, 32, 32] == 200).all()
        assert (told[:, :, 0, 0] == 255).all() and (painted[:, :, 0, 0] == 255).all()  # on white
    assert list(train.captions) == [NAMES[k][1].lower() for k in here]
    assert read_manifest(tmp_path / "t")["details"]["codes"]["source"] == [NAMES[k][0] for k in there]
    assert read_manifest(tmp_path / "t")["source"] == f"folder {packages}"


def test_the_same_packages_give_the_same_table(packages, tmp_path):
    def digest(**options):
        emoji.prepare(config(packages, **options), tmp_path / "t")
        return read_manifest(tmp_path / "t")["sha256"]

    first = digest()
    assert first == digest() and len({first, digest(seed=1), digest(resolution=32)}) == 3


def test_a_package_that_is_not_whole_is_one_line(packages, tmp_path):
    file = packages / "emoji-datasource-twitter" / "img" / "twitter" / "64" / "1f007.png"
    file.write_bytes(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"1f007\.png: cannot be read as an image"):
        emoji.prepare(config(packages), tmp_path / "t")
    file.unlink()
    with pytest.raises(ConfigError, match=r"missing: img/twitter/64/1f007\.png; unpack it again"):
        emoji.prepare(config(packages), tmp_path / "t")
    with pytest.raises(ConfigError, match=r"dataset\.path: .* holds no img/twitter/64, as the npm package emoji-data"):
        emoji.prepare(config(packages / "emoji-datasource-google"), tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_unequal_numbers_are_drawn_in_their_own_order(packages, tmp_path):
    emoji.prepare(config(packages, test_share=0.25), tmp_path / "t")
    train = Table.open(tmp_path / "t", "train")
    images, told = train.draw(0, 0, len(train.conditions))
    shown = ((told[:, 0, 32, 32] + 1) * 127.5).round().int().sort().values
    assert shown.tolist() == sorted(np.array(train.conditions)[:, 0, 32, 32].tolist())
    assert len(images) == len(told) != len(train)
