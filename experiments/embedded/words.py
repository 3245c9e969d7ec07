"""Draw the contact sheet of all condition words: `python experiments/embedded/words.py words.jpg`.

Photos: astronaut (NASA), rocket (SpaceX), cat, coffee (CC0) from scikit-image; china (danielbuechele, CC BY 2.0) from
scikit-learn.
"""

import sys

import numpy as np
import torch
from PIL import Image, ImageDraw
from skimage import data
from sklearn.datasets import load_sample_image

from diffharmon.condition import grades
from diffharmon.condition.vocabulary import VOCABULARY

CELL, LABEL, COLUMNS = 52, 66, 3


def main(path: str) -> None:
    """Grade five photos by every word, always with the same seed, and lay them out with the words."""
    raw = [data.astronaut(), data.rocket(), data.chelsea(), data.coffee(), load_sample_image("china.jpg")]
    photos = [Image.fromarray(photo).resize((CELL, CELL), Image.Resampling.LANCZOS) for photo in raw]
    tensors = [torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255 for photo in photos]
    words = ["", *(word for listed in VOCABULARY.values() for word in listed)]
    rows, width = -(-len(words) // COLUMNS), LABEL + len(photos) * CELL
    sheet = Image.new("RGB", (COLUMNS * width, rows * CELL), "white")
    pen = ImageDraw.Draw(sheet)
    for number, word in enumerate(words):
        column, row = divmod(number, rows)
        left, top = column * width, row * CELL
        pen.text((left + 4, top + CELL // 2 - 6), word or "photo", fill="black")
        generator = torch.Generator().manual_seed(0)
        for place, tensor in enumerate(tensors):
            shown = grades.sample([word], generator)(tensor) if word else tensor
            cell = Image.fromarray((shown.permute(1, 2, 0) * 255).round().byte().numpy())
            sheet.paste(cell, (left + LABEL + place * CELL, top))
    sheet.save(path, quality=80, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
