"""Masks of other programs as label images: PNGs of any mode, a folder an object, npz, COCO RLE."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.importers.containers import read_arrays, read_json
from hoijax.progress import Log, silent

__all__ = ["fit_labels", "read_label_masks"]

PARTS_FOLDER = "parts"
MAX_LABELS = 20
"""Values above this are grey levels or colors, not numbers of entities."""
PEOPLE = ("person", "human", "people", "man", "woman", "subject", "body")
SAME_ASPECT = 0.02
MAX_FRAMES = 100_000
FORMS = (
    "Known are a folder of label PNGs, one a frame; a folder of PNGs for each object; npz with booleans "
    "(N, T, H, W) or labels (T, H, W); json of COCO RLE by frame, as SAM 2's demos write it."
)
Labels = UInt8[ndarray, "T H W"]


def read_label_masks(
    path: str | Path, objects: Sequence[str] = (), people: int | None = None, log: Log = silent
) -> tuple[Labels, Int[ndarray, "T H W"] | None]:
    """(labels, part numbers or None): 0 background, 1..P people, then objects in the order given.

    A folder `parts` beside label PNGs holds part numbers: 0 none, q for the object's q-th part; -1
    and q - 1 here. Masks by name go to the entity of that name, others are taken in their order, people
    first; what went where is said to `log`. UserError for what is not known, with what is.
    """
    path = Path(path)
    if path.is_dir():
        folders = sorted(p for p in path.iterdir() if p.is_dir() and p.name != PARTS_FOLDER)
        if folders and not any(path.glob("*.png")):
            named = {folder.name: _binary(folder) for folder in folders}
            return _one_label_image(named, path, objects, people, log), None
        labels = _told(_numbered(_images(path), path, log), path, log)
        parts_folder = path / PARTS_FOLDER
        if not parts_folder.is_dir():
            return labels, None
        parts = _numbered(_images(parts_folder), parts_folder, log)
        if parts.shape != labels.shape:
            raise UserError(
                f"--masks {parts_folder}: {len(parts)} images of {parts.shape[2]} x {parts.shape[1]}, "
                f"but {len(labels)} of {labels.shape[2]} x {labels.shape[1]} beside it."
            )
        return labels, parts.astype(np.int16) - 1
    if not path.is_file():
        raise UserError(f"--masks {path}: there is no such folder or file. {FORMS}")
    if path.suffix == ".json":
        return _one_label_image(_of_rle(read_json(path), path), path, objects, people, log), None
    arrays = read_arrays(path)
    for array in arrays.values():
        if array.ndim == 3 and array.dtype.kind in "iu" and len(arrays) == 1:
            return _told(_numbered(list(array), path, log), path, log), None
    return _one_label_image(_of_arrays(arrays, path), path, objects, people, log), None


def fit_labels(labels: ndarray, height: int, width: int, log: Log = silent) -> ndarray:
    """Label images at a clip's size: the nearest pixel of masks of another size and the same aspect.

    UserError where the aspect is another.
    """
    count, rows, columns = labels.shape
    if (rows, columns) == (height, width):
        return labels
    if abs(rows * width / (columns * height) - 1.0) > SAME_ASPECT:
        raise UserError(
            f"stage 'masks': --masks holds {count} images of {columns} x {rows} pixels, the clip's frames "
            f"are {width} x {height}: another aspect. Give masks of the clip itself."
        )
    log(f"masks: resized from {columns} x {rows} to the clip's {width} x {height} pixels (nearest)")
    v = ((np.arange(height) + 0.5) * rows / height).astype(int)
    u = ((np.arange(width) + 0.5) * columns / width).astype(int)
    return labels[:, v[:, None], u]


# ---- images


def _images(folder: Path) -> list[ndarray]:
    """Every PNG of a folder in the order of names: values (H, W), or colors (H, W, 3) with black for clear."""
    from PIL import Image, UnidentifiedImageError

    images = []
    for path in sorted(folder.glob("*.png"), key=_natural):
        try:
            with Image.open(path) as image:
                if image.mode in ("RGBA", "LA", "PA"):
                    pixels = np.asarray(image.convert("RGBA"))
                    images.append(np.where(pixels[..., 3:] > 0, pixels[..., :3], 0))
                elif image.mode in ("L", "P", "1", "I", "I;16", "I;16B"):
                    images.append(np.asarray(image).astype(np.int64))
                else:
                    images.append(np.asarray(image.convert("RGB")))
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise UserError(f"--masks {path}: cannot be read ({error}).") from error
    if not images:
        raise UserError(f"--masks {folder}: holds no PNG. {FORMS}")
    if len({image.shape for image in images}) > 1:
        raise UserError(f"--masks {folder}: the images have different sizes or modes.")
    return images


def _natural(path: Path) -> list[tuple[int, str]]:
    """ "9.png" before "10.png"."""
    words = re.findall(r"\d+|\D+", path.stem)
    return [(int(word), "") if word.isdigit() else (-1, word) for word in words]


def _binary(folder: Path) -> Bool[ndarray, "T H W"]:
    """Masks of one object: anything but black, or the brighter half of grey levels."""
    images = np.stack(_images(folder))
    values = images.max(-1) if images.ndim == 4 else images
    return values > (127 if values.max() > MAX_LABELS else 0)


def _numbered(images: Sequence[ndarray], source: Path, log: Log) -> Labels:
    """Label images whose values are numbers of entities, from numbers, grey levels or colors."""
    stack = np.stack(images)
    if stack.ndim == 4:
        stack = (stack.astype(np.int64) * (65536, 256, 1)).sum(-1)
        values = np.unique(stack)
        palette = {_palette_color(index): index for index in range(MAX_LABELS + 1)}
        if set(values.tolist()) <= palette.keys():
            return np.vectorize(palette.__getitem__, otypes=[np.uint8])(stack)
    values = np.unique(stack)
    if values.min() >= 0 and values.max() <= MAX_LABELS:
        return stack.astype(np.uint8)
    levels = values[values != 0]
    if len(levels) > MAX_LABELS:
        raise UserError(
            f"--masks {source}: {len(levels)} different values or colors are no labels. Label images "
            "have one value an entity, without smoothing or compression."
        )
    shown = ", ".join(f"{value:06x}" if value > 255 else str(value) for value in levels.tolist())
    log(
        f"--masks {source.name}: values {shown} are taken for entities 1 to {len(levels)}, in this order"
    )
    return (np.searchsorted(levels, stack) + 1).astype(np.uint8) * (stack != 0).astype(np.uint8)


def _told(labels: Labels, source: Path, log: Log) -> Labels:
    """The labels, and a line of what they are taken for."""
    values = ", ".join(map(str, np.unique(labels[labels > 0]).tolist())) or "none"
    log(
        f"--masks {source.name}: {len(labels)} label images of the values {values}: people, then objects"
    )
    return labels


def _palette_color(index: int) -> int:
    """Color of an index in the palette of Pascal VOC and DAVIS, as 0xRRGGBB."""
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red << 16 | green << 8 | blue


# ---- arrays and RLE


def _of_arrays(arrays: Mapping[str, ndarray], source: Path) -> dict[str, ndarray]:
    """Masks by name: of one array (N, T, H, W), or of one (T, H, W) for every name."""
    masks: dict[str, ndarray] = {}
    for name, array in arrays.items():
        if array.ndim == 5 and array.shape[2] == 1:  # SAM 2: (N, T, 1, H, W)
            array = array[:, :, 0]
        if array.ndim == 4:
            masks |= {f"{name or 'mask'} {n + 1}": one > 0 for n, one in enumerate(array)}
        elif array.ndim == 3:
            masks[name or "mask"] = array > 0
    if not masks:
        raise UserError(f"--masks {source}: holds no masks. {FORMS}")
    if len({mask.shape for mask in masks.values()}) > 1:
        raise UserError(f"--masks {source}: its masks have different shapes.")
    return masks


def _of_rle(content: Any, source: Path) -> dict[str, ndarray]:
    """Masks of run-length codes by frame: SAM 2's demo (`results` of `frame_index`), SA-V (`masklet`),
    or annotations of single images with `segmentation`."""
    frames: list[dict[str, Mapping[str, Any]]] = []
    try:
        if isinstance(content, Mapping) and "masklet" in content:
            frames = [{str(n): rle for n, rle in enumerate(row)} for row in content["masklet"]]
        else:
            rows = content if isinstance(content, list) else content.get("frames", [content])
            frames = _by_frame(rows)
        codes = [code for frame in frames for code in frame.values()]
        height, width = (int(side) for side in codes[0]["size"])
        names = sorted(
            {name for frame in frames for name in frame}, key=lambda n: _natural(Path(n))
        )
        masks = {name: np.zeros((len(frames), height, width), bool) for name in names}
        for t, frame in enumerate(frames):
            for name, code in frame.items():
                masks[name][t] |= _decoded(code)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"--masks {source}: is no COCO RLE by frame ({error!r}). {FORMS}"
        ) from error
    return masks


def _by_frame(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Mapping[str, Any]]]:
    """RLE by name of every frame, each at its `frame_index` (counted from 0, or from 1 where that is the
    first); those that the file omits are empty."""
    numbers = [int(row.get("frame_index", place)) for place, row in enumerate(rows)]
    if min(numbers) < 0 or max(numbers) > MAX_FRAMES:
        raise ValueError(f"frame_index from {min(numbers)} to {max(numbers)}")
    first = int(min(numbers) == 1)
    frames: list[dict[str, Mapping[str, Any]]] = [{} for _ in range(max(numbers) + 1 - first)]
    for number, row in zip(numbers, rows, strict=True):
        frames[number - first] = _codes_of_frame(row)
    return frames


def _codes_of_frame(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """RLE by name of one frame."""
    if "annotations" in row:  # Grounded SAM 2
        annotations = row["annotations"]
        return {
            str(a.get("object_id", a.get("class_name", n))): a["segmentation"]
            for n, a in enumerate(annotations)
        }
    results = row.get("results", row.get("masks", []))
    return {
        str(r.get("object_id", n)): r.get("mask", r.get("segmentation", r))
        for n, r in enumerate(results)
    }


def _decoded(code: Mapping[str, Any]) -> Bool[ndarray, "H W"]:
    """The mask of one run-length code: lengths of background and mask in turn, down the columns."""
    height, width = (int(side) for side in code["size"])
    counts = code["counts"] if isinstance(code["counts"], list) else _lengths(code["counts"])
    if sum(counts) != height * width or min(counts) < 0:
        raise ValueError(f"run lengths sum to {sum(counts)}, not {height} x {width}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def _lengths(text: str) -> list[int]:
    """Run lengths of COCO's text: 5 bits a letter, lowest first, from the third on as differences to the
    length two before."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text.encode():
        bits = letter - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # goes on
            continue
        if bits & 16:  # negative
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


# ---- who is who


def _one_label_image(
    named: Mapping[str, ndarray], source: Path, objects: Sequence[str], people: int | None, log: Log
) -> Labels:
    """Labels of separate masks; where they overlap the smaller one counts, for it hides the larger."""
    if len({mask.shape for mask in named.values()}) > 1:
        raise UserError(f"--masks {source}: its masks have different numbers of frames or sizes.")
    order = _entities(list(named), objects, people, source)
    log(
        f"--masks {source.name}: "
        + ", ".join(f"{label}: '{name}'" for name, label in order.items())
    )
    labels = np.zeros(next(iter(named.values())).shape, np.uint8)
    for name in sorted(order, key=lambda name: -int(named[name].sum())):
        labels[named[name]] = order[name]
    return labels


def _entities(
    names: Sequence[str], objects: Sequence[str], people: int | None, source: Path
) -> dict[str, int]:
    """Label of every named mask: by the names of people and objects, else by order."""
    plain = [re.sub(r"[\W_]+", " ", name.lower()).strip() for name in names]
    wanted = [re.sub(r"[\W_]+", " ", name.lower()).strip() for name in objects]
    if all(name in plain for name in wanted) and wanted:
        rest = [names[i] for i, name in enumerate(plain) if name not in wanted]
        chosen = [name for name in rest if name.lower().startswith(PEOPLE)] or rest
        ordered = [*chosen, *(names[plain.index(name)] for name in wanted)]
    else:
        first = [name for name in names if name.lower().startswith(PEOPLE)]
        ordered = [*first, *(name for name in names if name not in first)]
    expected = None if people is None else people + len(objects)
    if objects and (len(ordered) <= len(objects) or (expected and len(ordered) != expected)):
        raise UserError(
            f"--masks {source}: {len(ordered)} masks ({', '.join(map(repr, ordered))}) for "
            f"{people or 'at least one'} person and the objects {', '.join(objects)}. Give one mask each, "
            "people first, or name them so."
        )
    return {name: label + 1 for label, name in enumerate(ordered)}
