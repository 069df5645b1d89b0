"""The code of a registered generator. MLflow copies this file and ganlib into the model, and runs them on loading.

Input: a table with one row an image: `seed`, and where wanted `truncation` (0 … 1; 1, the default, switches it off);
for a generator that is told one, `label` (a number) or `class` (a name): without, labels come as the training images
have them. The parameter `n` asks for n images of each row instead of one.
Output: uint8 images (rows · n, C, H, W).

For a translator each row has an `image` instead: the bytes of an image file, or the path of one as text. It is turned
upright and read as the files that the translator was trained on: laid over their background where it is transparent,
cut to the centre or padded, and resized. The parameter `fit` asks for crop or pad; `white`, where the training had one,
for another value that is white. Grey images become colour where that is needed; colour images become grey only with the
parameter `grey`. `seed` is 0 without the column. The parameter `back` asks for the way back.
"""

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class GeneratorModel(PythonModel):
    """A generator behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        from ganlib.datasets import images, listing, sources  # the model's own copy of ganlib, which MLflow has put on
        from ganlib.sampling import generator  # the path by now

        self.library, self.images, self.listing, self.sources = generator, images, listing, sources
        self.generator: Any
        self.generator, about = generator.load(Path(context.artifacts["generator"]))
        self.names, self.reading = about["classes"], sources.reading_of(about)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        params, rows = params or {}, len(model_input)
        count = int(params.get("n", 1))
        if rows < 1:
            raise ValueError("at least 1 row is needed, with a seed or an image; the table has none")
        if count < 1:
            raise ValueError(f"n: at least 1 image of each row must be asked for, got {count}")
        if not self.library.walks(self.generator):
            return self._translate(model_input, count, params)
        truncation = model_input["truncation"].to_numpy(float) if "truncation" in model_input else np.ones(rows)
        if not ((truncation >= 0) & (truncation <= 1)).all():
            raise ValueError(f"truncation: values in [0, 1] are needed, got {truncation.tolist()}")
        if (truncation < 1).any() and not self.library.truncates(self.generator):
            raise ValueError(f"truncation: {truncation.min():g} would change nothing on the sphere of this generator's "
                             "latents; write 1, or leave it out")
        z = self._latents(self.generator, count, model_input["seed"])
        z *= torch.tensor(truncation, dtype=z.dtype).repeat_interleave(count)[:, None]
        return self.library.decode(self.generator, z, self._labels(model_input, count)).numpy()

    def _latents(self, generator: Any, count: int, seeds: Sequence[Any]) -> torch.Tensor:
        return torch.cat([self.library.latents(generator, count, int(seed)) for seed in seeds])

    def _labels(self, model_input: pd.DataFrame, count: int) -> torch.Tensor | None:
        columns = [name for name in ("label", "class") if name in model_input]
        if not columns:
            told = self.library.labels_of(self.generator, count)
            return None if told is None else told.repeat(len(model_input))
        if len(columns) > 1:
            raise ValueError("label and class: give one of them")
        wanted = model_input[columns[0]].tolist()
        names = self.names if columns == ["class"] else ()
        labels = [self.library.label_of(self.generator, names, one) for one in wanted]
        return torch.tensor(labels).repeat_interleave(count)

    def _translate(self, model_input: pd.DataFrame, count: int, params: dict[str, Any]) -> np.ndarray:
        translator = self.library.translator_of(self.generator, bool(params.get("back", False)))
        if "image" not in model_input:
            raise ValueError("image: this generator translates images; give the bytes of a file in each row, or a path")
        seeds = model_input["seed"] if "seed" in model_input else [0] * len(model_input)
        told = self._read(model_input["image"].tolist(), translator.told, params)
        z = self._latents(translator, count, seeds)
        return self.library.decode(translator, z, torch.from_numpy(told).repeat_interleave(count, 0)).numpy()

    def _read(self, values: list[Any], told: Any, params: dict[str, Any]) -> np.ndarray:
        """Files, or paths of some, as uint8 images (N, C, H, W) of the condition's shape."""
        fit, grey = params.get("fit", self.reading.fit), bool(params.get("grey", False))
        if fit not in ("crop", "pad"):
            raise ValueError(f"fit: crop or pad is needed, got {fit!r}")
        reading = dataclasses.replace(self.reading, fit=fit, white=params.get("white", self.reading.white))
        with tempfile.TemporaryDirectory() as scratch:
            paths = [_file(value, Path(scratch), row) for row, value in enumerate(values)]
            seen = self.sources.look(paths, reading)
            if seen.broken:
                raise ValueError(f"image: cannot be read as images: {self._rows(paths, seen.broken)}")
            if told.size == 1 and seen.coloured and not grey:
                coloured = dict.fromkeys(seen.coloured, "in colour")
                raise ValueError(f"image: this translator is told grey images: {self._rows(paths, coloured)}; make "
                                 "them grey, or give the parameter grey=True")
            try:
                return np.stack([self.sources.read(path, told, seen.white, reading) for path in paths])
            except self.images.Unreadable as error:
                found = self._rows(paths, {error.path: error.reason})
                raise ValueError(f"image: cannot be read as images: {found}") from None

    def _rows(self, paths: list[Path], reasons: dict[Path, str]) -> str:
        return self.listing.several([f"row {row} ({reasons[path]})" for row, path in enumerate(paths)
                                     if path in reasons])


def _file(value: Any, scratch: Path, row: int) -> Path:
    """The file of an image, which is written where its bytes are given."""
    if isinstance(value, str | os.PathLike):
        return Path(value)
    if not isinstance(value, bytes | bytearray):
        raise ValueError(f"image: row {row} is of type {type(value).__name__}; the bytes of a file are needed, or its "
                         "path as text")
    path = scratch / str(row)
    path.write_bytes(value)
    return path


set_model(GeneratorModel())
