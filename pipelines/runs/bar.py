"""The progress bar of long work: images, images/s and time left."""

import sys

from tqdm import tqdm

LINE = "{desc}: {percentage:3.0f}% {n_fmt} of {total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]\n"  # for files


def images_bar(total: int | None, what: str, initial: int = 0, stays: bool = True) -> tqdm:
    """A bar of images; where stderr is no terminal but a log, a line every 15 seconds. One that does not stay is gone
    when it is done, and leaves no line of work that takes less."""
    terminal = sys.stderr.isatty()
    return tqdm(total=total, initial=initial, unit="img", unit_scale=True, desc=what, mininterval=1 if terminal else 15,
                bar_format=None if terminal else LINE, leave=stays, delay=0 if stays or terminal else 15)
