"""Images per second of the feature extractors; EfficientNet-Lite0 against the usual loop, and what each change brings.

    OMP_NUM_THREADS=1 python -m benchmarks.features [--rounds 7]    # takes the images of data/table

The plain loop is what one writes with the published network: batches of 50, NCHW, padding by a copy, BatchNorm and
ReLU6 as layers of their own, `no_grad`. Ours is `ganlib.metrics.features.extract`. Both take the same uint8 images, at
the same resolution, in float32. One thread, process time; every round runs each variant once, and what counts is the
median of the ratios of each round. The plain loop begins and ends a round: against itself it must come out near 1.
"""

import argparse
import datetime
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.datasets.table import Table
from ganlib.metrics import classifier, efficientnet_lite0, inception
from ganlib.metrics.efficientnet_lite0 import EfficientNetLite0, same_padding
from ganlib.metrics.features import Extractor, extract, extractor
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.statistics import Statistics

RESIZE, IMAGES = 112, 200  # a round
AIM, LARGEST_EFFECT = 3.0, 1e-3
DISTANCE_IMAGES = 1500  # of each split; more than the features have dimensions


def plain(network: EfficientNetLite0, images: np.ndarray, batch_size: int = 50, channels_last: bool = False) -> Tensor:
    """uint8 images (N, C, H, W) → features (N, 1280). `network`: as `load(fold=False)` gives it, or folded."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.to(memory_format=layout)  # type: ignore[call-overload]
    features = []
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            x = torch.from_numpy(images[start:start + batch_size].copy()).float().expand(-1, 3, -1, -1)
            x = F.interpolate(x, size=(RESIZE, RESIZE), mode="bilinear", align_corners=False)
            x = ((x - 127) / 128).contiguous(memory_format=layout)
            x = F.relu6(network._bn0(_convolve(network._conv_stem, x)))
            for block in network._blocks:
                wide = F.relu6(block._bn0(_convolve(block._expand_conv, x))) if block.expands else x
                wide = F.relu6(block._bn1(_convolve(block._depthwise_conv, wide)))
                narrow = block._bn2(_convolve(block._project_conv, wide))
                x = narrow + x if block.skip else narrow
            feature = F.relu6(network._bn1(_convolve(network._conv_head, x))).mean((2, 3))
            network._fc(feature)
            features.append(feature)
    return torch.cat(features)


def _convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    (top, bottom), (left, right) = (same_padding(size, layer.kernel_size[0], layer.stride[0]) for size in x.shape[2:])
    if bottom or right:
        x = F.pad(x, (left, right, top, bottom))
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, groups=layer.groups)


def seconds(work: Callable[[], object]) -> float:
    """Process time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def speed(images: np.ndarray, rounds: int) -> list[tuple[str, ...]]:
    """Rows (what, images/s, times the plain loop, aim) of EfficientNet-Lite0."""
    file = efficientnet_lite0.weights_file()
    fresh, folded = efficientnet_lite0.load(file, fold=False), efficientnet_lite0.load(file)
    ours = extractor("efficientnet_lite0", RESIZE)
    variants: dict[str, Callable[[], object]] = {
        "plain loop": lambda: plain(fresh, images),
        "BatchNorm folded": lambda: plain(folded, images),
        "and channels_last": lambda: plain(folded, images, channels_last=True),
        "and batches of 16": lambda: plain(folded, images, 16, channels_last=True),
        "`extract`: and no copies to pad, ReLU6 in place": lambda: extract(ours, images),
        "plain loop again": lambda: plain(fresh, images),
    }
    for work in variants.values():
        work()
    times = [{name: seconds(work) for name, work in variants.items()} for _ in range(rounds)]
    rows = []
    for name in variants:
        rate = statistics.median(len(images) / time[name] for time in times)
        ratio = statistics.median((time["plain loop"] + time["plain loop again"]) / 2 / time[name] for time in times)
        aim = f"{AIM:.1f}" if name.startswith("`extract`") else ""
        rows.append((f"efficientnet_lite0, {RESIZE} px: {name}", f"{rate:.0f}", f"{ratio:.2f}", aim))
    return rows


def effect(real: np.ndarray, fake: np.ndarray) -> tuple[str, ...]:
    """The row of the Fréchet distance of one set of images to another, by the plain loop and by ours."""
    fresh, ours = efficientnet_lite0.load(efficientnet_lite0.weights_file(), fold=False), extractor(resize=RESIZE)
    by_plain = frechet_distance(*(Statistics.from_features(plain(fresh, images)) for images in (real, fake)))
    by_ours = frechet_distance(*(Statistics.from_features(extract(ours, images)[0]) for images in (real, fake)))
    return (f"Fréchet distance, {len(real):,} against {len(fake):,}: {by_plain:.4f} plain, {by_ours:.4f} ours", "",
            f"{abs(by_ours / by_plain - 1):.1e} of it", f"{LARGEST_EFFECT:.0e}")


def others(train: Table, images: np.ndarray, rounds: int) -> list[tuple[str, ...]]:
    """Rows of the other extractors; inception with random weights, which take as long."""
    rows = []
    with TemporaryDirectory() as directory:
        file = Path(directory) / "classifier.safetensors"
        classifier.save(file, classifier.train(train.images, train.labels, train.classes, images_shown=128))
        random = inception.Inception().eval().requires_grad_(False).fold().to(memory_format=torch.channels_last)
        for network, count in [
            (extractor("squeezenet", RESIZE), len(images)), (extractor("domain", path=file), len(images)),
            (Extractor("inception", random, "", inception.RESIZE, inception.RESIZE_METHOD, "cpu"), 16),
        ]:
            few = images[:count]
            extract(network, few[:16])
            rate = statistics.median(count / seconds(lambda: extract(network, few)) for _ in range(rounds))  # noqa: B023
            rows.append((f"{network.name}, {network.resize} px: `extract`", f"{rate:.0f}", "", ""))
    return rows


def rows(rounds: int = 7) -> list[tuple[str, ...]]:
    """What was measured, images per second, times the plain loop, aim."""
    train, test = (Table.open("data/table", split) for split in ("train", "test"))
    images = test.images[:IMAGES]
    return [*speed(images, rounds), effect(test.images[:DISTANCE_IMAGES], train.images[:DISTANCE_IMAGES]),
            *others(train, images, rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), "unknown CPU")
    print(f"{cpu} ({torch.backends.cpu.get_cpu_capability()}), 1 thread, torch {torch.__version__}, "
          f"{arguments.rounds} rounds of {IMAGES} images, {datetime.date.today()}\n")
    print("| what | images/s | times plain | aim |\n|---|---:|---:|---:|")
    for row in rows(arguments.rounds):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
