"""A tiny dataset in COCO's official layout."""

import json

import cv2
import numpy as np

COLOURS = {1: (220, 40, 40), 2: (40, 70, 220), 3: (50, 200, 60)}


def write_coco(root, split, scenes, *, crowd=(), size=(40, 60)):
    """A dataset of grey images with coloured squares: ``scenes`` is {image id: categories}."""
    H, W = size
    images, annotations = [], []
    (root / split).mkdir(parents=True)
    for image_id, shown in scenes.items():
        picture = np.full((H, W, 3), 128, np.uint8)
        for i, category in enumerate(shown):
            x, y, side = 3 + 18 * i, 6, 14
            picture[y : y + side, x : x + side] = COLOURS[category]
            corners = [x, y, x + side, y, x + side, y + side, x, y + side]
            annotations.append(
                {
                    "id": image_id * 10 + i,
                    "image_id": image_id,
                    "category_id": category,
                    "area": side * side,
                    "segmentation": [corners],
                    "iscrowd": int((image_id, category) in crowd),
                }
            )
        cv2.imwrite(str(root / split / f"{image_id}.png"), picture[..., ::-1])
        name = f"{image_id}.png"
        images.append({"id": image_id, "file_name": name, "height": H, "width": W})
    names = [{"id": i, "name": n} for i, n in ((3, "green"), (1, "red"), (2, "blue"))]
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    document = {"images": images, "annotations": annotations, "categories": names}
    file.write_text(json.dumps(document))
