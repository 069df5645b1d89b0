"""The code of a registered generator. MLflow copies this file and ganlib into the model, and runs them on loading.

Input: a table with one row an image: `seed`, and where wanted `truncation` (0 … 1; 1, the default, switches it off);
for a generator that is told one, `label` (a number) or `class` (a name): without, labels come as the training images
have them. The parameter `n` asks for n images of each row instead of one.
Output: uint8 images (rows · n, C, H, W).
"""

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
        from ganlib.sampling import generator  # the model's own copy, which MLflow has put on the path by now

        self.library = generator
        self.generator: Any
        self.generator, about = generator.load(Path(context.artifacts["generator"]))
        self.names = about["classes"]

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        count, rows = int((params or {}).get("n", 1)), len(model_input)
        if rows < 1:
            raise ValueError("at least 1 row is needed, with a seed; the table has none")
        if count < 1:
            raise ValueError(f"n: at least 1 image of each row must be asked for, got {count}")
        truncation = model_input["truncation"].to_numpy(float) if "truncation" in model_input else np.ones(rows)
        if not ((truncation >= 0) & (truncation <= 1)).all():
            raise ValueError(f"truncation: values in [0, 1] are needed, got {truncation.tolist()}")
        if (truncation < 1).any() and not self.library.truncates(self.generator):
            raise ValueError("truncation: it would change nothing on the sphere of this generator's latents; write 1, "
                             "or leave the column out")
        z = torch.cat([self.library.latents(self.generator, count, int(seed)) for seed in model_input["seed"]])
        z *= torch.tensor(truncation, dtype=z.dtype).repeat_interleave(count)[:, None]
        return self.library.decode(self.generator, z, self._labels(model_input, count)).numpy()

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


set_model(GeneratorModel())
