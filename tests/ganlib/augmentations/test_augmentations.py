"""What every augmentation promises, for every file of the room."""

import copy
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from ganlib import build
from ganlib.augmentations.base import Augmentation
from ganlib.objectives.base import Noise

CONF = Path(__file__).parents[3] / "conf" / "augmentation"


def images(count: int = 4, shape: tuple[int, ...] = (3, 8, 10), dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1).to(dtype)


@pytest.fixture(params=build.names("augmentations"))
def augmentation(request: pytest.FixtureRequest) -> Augmentation:
    """In the midst of a run with a discriminator that overfits."""
    module, config = build.component("augmentations", {"name": request.param})
    made = module.build(config)
    for images_seen in range(0, 200_000, 1000):
        made.advance({"D/real_sign": torch.tensor(1.0)}, images_seen, 1000)
    return made


def test_every_augmentation_has_its_file_in_conf_with_all_keys():
    assert {path.stem for path in CONF.glob("*.yaml")} == set(build.names("augmentations"))
    for path in CONF.glob("*.yaml"):
        section = OmegaConf.to_container(OmegaConf.create({"training": {"images": 1000}, "it": OmegaConf.load(path)}),
                                         resolve=True)["it"]  # fmt: skip
        assert path.read_text().startswith(f"# python -m pipelines.compose augmentation={path.stem} && dvc repro\n")
        _, config = build.component("augmentations", section)
        assert set(section) == {"name", *vars(config)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (3, 7, 12), (2, 9, 1)])
def test_shape_and_dtype_stay_and_nothing_is_out_of_bounds(augmentation, shape, dtype):
    seen = augmentation(images(4, shape, dtype), Noise(0, 4))
    assert seen.shape == (4, *shape) and seen.dtype == dtype and seen.isfinite().all()


def test_pure_and_random_from_its_noise_alone(augmentation):
    before = copy.deepcopy(augmentation.state_dict())
    torch.manual_seed(0)
    first = augmentation(images(), Noise(5, 4))
    torch.manual_seed(1)
    assert torch.equal(augmentation(images(), Noise(5, 4)), first)
    assert not torch.equal(augmentation(images(), Noise(6, 4)), first)
    assert all(torch.equal(value, before[name]) for name, value in augmentation.state_dict().items())


def test_every_image_has_its_own_numbers(augmentation):
    """Also the second half of a batch of reals and fakes, for each half of which noise is drawn."""
    seen = augmentation(images(1).expand(8, -1, -1, -1), Noise(0, 4))
    assert len(seen.flatten(1).unique(dim=0)) == 8


def test_two_shares_are_the_batch(augmentation):
    real, fake = images(), -images()
    whole = augmentation(torch.cat([real, fake]), Noise(3, 4)).unflatten(0, (2, 2, 2))
    for rank in range(2):
        share = slice(2 * rank, 2 * rank + 2)
        seen = augmentation(torch.cat([real[share], fake[share]]), Noise(3, 2, rank, "cpu", 2))
        assert torch.allclose(seen.unflatten(0, (2, 2)), whole[:, rank], atol=1e-6)


def test_derivatives_of_first_and_second_order(augmentation):
    x = images(2, (3, 4, 5), torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augmentation(x, Noise(0, 2)), x)
    # The maps are affine, so only what comes behind them makes the second derivative more than zero.
    assert torch.autograd.gradgradcheck(lambda x: augmentation(x, Noise(0, 2)).sin(), x)


def test_autocast_makes_no_difference(augmentation):
    with torch.autocast("cpu", torch.bfloat16):
        inside = augmentation(images(), Noise(0, 4))
    assert torch.equal(inside, augmentation(images(), Noise(0, 4)))


def test_images_that_no_noise_is_drawn_for_are_refused(augmentation):
    with pytest.raises(ValueError, match="5 images are no multiple of the 4"):
        augmentation(images(5), Noise(0, 4))


def test_what_is_logged_is_a_detached_copy_of_the_state(augmentation):
    stats = augmentation.stats()
    assert all(name.startswith("augmentation/") and value.ndim == 0 for name, value in stats.items())
    pointers = {buffer.data_ptr() for buffer in augmentation.buffers()}
    assert not pointers & {value.data_ptr() for value in stats.values()}
