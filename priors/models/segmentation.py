"""Masks of people, objects and parts over a clip: SAM 2 (Ravi et al., 2024), in transformers.

Every entity is prompted once, by a box or a mask in any frame, and propagated both ways. Frames are
resized as the model asks for them and stale memories are dropped, so a clip's length costs main
memory only for its masks.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    load_pretrained,
    readable_errors,
    require,
)
from priors.protocols import ModelId, Prompt, Tracks

STAGE = "masks"
SAM2_LARGE = ModelId("facebook/sam2.1-hiera-large")
Normalization = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and spread of red, green and blue."""
IMAGENET: Normalization = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PRESENT = 0.5  # an entity seen with less than this probability has an empty mask
BOX_CORNERS = (2, 3)  # SAM's point labels of a box's top-left and bottom-right corner


class Sam2Segmenter:
    """`VideoSegmenter` by SAM 2; the network is loaded at the first call."""

    network_class, session_class = "Sam2VideoModel", "Sam2VideoInferenceSession"
    normalization = IMAGENET

    def __init__(self, model_id: ModelId = SAM2_LARGE, runtime: TorchSettings | None = None):
        """model_id: hub id or directory, in transformers format."""
        self._model_id, self.runtime = model_id, runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    @cached_property
    def _network(self) -> Any:
        transformers = require("transformers", "torch")
        device, dtype = device_and_dtype(self.runtime)
        kind = getattr(transformers, self.network_class)
        return load_pretrained(kind, self._model_id, stage=STAGE, dtype=dtype).to(device)

    def track(self, frames: UInt8[ndarray, "T H W 3"], prompts: Sequence[Prompt]) -> Tracks:
        """Masks of all prompted entities in all frames; masks of different entities may overlap.

        Raises UserError for prompts outside the clip or without area, and when memory runs out.
        """
        torch = require("torch")
        count, height, width = frames.shape[:3]
        check_prompts(prompts, count, height, width)
        masks = np.zeros((len(prompts), count, height, width), bool)
        scores = np.zeros((len(prompts), count), np.float32)
        with (
            readable_errors(STAGE, self._model_id, smaller="fewer frames"),
            torch.inference_mode(),
        ):
            # Entities do not see each other in SAM 2 and 3, so those of the same frames share a session.
            prompted = [tuple(sorted(one.frame for one in prompt.all)) for prompt in prompts]
            for where in sorted(set(prompted)):
                chosen = [i for i, prompt in enumerate(prompts) if prompted[i] == where]
                session = self._session(frames)
                for frame in reversed(where):  # the first last: from there it is propagated
                    for i in chosen:
                        for prompt in prompts[i].all:
                            if prompt.frame == frame:
                                self._add(session, i, prompt, height, width)
                    session.obj_with_new_inputs = list(chosen)
                    if frame != where[0]:
                        self._network(session, frame_idx=frame)
                for t, logits, presence in self._propagate(session, where[0], height, width):
                    seen = presence >= PRESENT
                    masks[chosen, t] = (logits > 0) & seen[:, None, None]
                    scores[chosen, t] = presence
        return Tracks(masks, scores)

    def _session(self, frames: ndarray) -> Any:
        size = _image_size(self._network.config)
        session_class = _lazy_session_class(self.session_class, self.normalization)
        return session_class(frames, size, device=self._network.device, dtype=self._network.dtype)

    def _add(self, session: Any, entity: int, prompt: Prompt, height: int, width: int) -> None:
        """One entity's prompt, in the pixels of the resized image."""
        torch = require("torch")
        size = _image_size(self._network.config)
        index = session.obj_id_to_idx(entity)
        if prompt.mask is not None:
            mask = torch.from_numpy(prompt.mask[None, None].astype(np.float32))
            resized = torch.nn.functional.interpolate(
                mask, (size, size), mode="bilinear", antialias=True
            )
            session.add_mask_inputs(index, prompt.frame, (resized >= 0.5).to(self._network.dtype))
            return
        places, labels = np.zeros((0, 2)), []
        if prompt.box is not None:
            places, labels = np.asarray(prompt.box, np.float64).reshape(2, 2), list(BOX_CORNERS)
        if prompt.points is not None:
            places = np.concatenate([places, prompt.points[:, :2]])
            labels += [int(sign > 0) for sign in prompt.points[:, 2]]
        places = (places * (size / width, size / height)).astype(np.float32)
        points = {
            "point_coords": torch.from_numpy(places[None, None]),
            "point_labels": torch.tensor([[labels]], dtype=torch.int32),
        }
        session.add_point_inputs(index, prompt.frame, points)

    def _propagate(self, session: Any, start: int, height: int, width: int):
        """(frame, logits (N, H, W), presence (N,)) from the prompted frame forward, then back."""
        torch = require("torch")
        reach = self._network.config.max_object_pointers_in_encoder + 1
        backward = range(start - 1, -1, -1)
        for reverse, order in ((False, range(start, session.num_frames)), (True, backward)):
            for t in order:
                output = self._network(session, frame_idx=t, reverse=reverse)
                logits = torch.nn.functional.interpolate(
                    output.pred_masks.float(), (height, width), mode="bilinear"
                )
                presence = torch.sigmoid(output.object_score_logits.float()).reshape(-1)
                yield t, logits[:, 0].cpu().numpy(), presence.cpu().numpy()
                session.forget(t, start, reach)


def check_prompts(prompts: Sequence[Prompt], count: int, height: int, width: int) -> None:
    """Raises UserError, with all problems, for prompts from which nothing can be tracked."""
    problems = []
    for i, prompt in [(i, one) for i, whole in enumerate(prompts) for one in whole.all]:
        where = f"prompt {i} (frame {prompt.frame})"
        if not 0 <= prompt.frame < count:
            problems.append(f"{where}: the clip has frames 0..{count - 1}")
        elif (prompt.box is None and prompt.points is None) == (prompt.mask is None):
            problems.append(f"{where}: give either a box, points or both, or a mask")
        elif prompt.mask is not None:
            if prompt.mask.shape != (height, width):
                problems.append(
                    f"{where}: its mask is {prompt.mask.shape}, the images are {(height, width)}"
                )
            elif not prompt.mask.any():
                problems.append(f"{where}: its mask is empty")
        elif (
            prompt.box is not None
            and _visible_area(np.asarray(prompt.box, np.float64), height, width) < 1
        ):
            box = ", ".join(f"{edge:.0f}" for edge in np.asarray(prompt.box))
            problems.append(f"{where}: its box ({box}) covers no pixel of {width} x {height}")
    if problems:
        raise UserError(
            f"{STAGE}: {'; '.join(problems)}. Detect the entity again, or give its box or mask by hand"
        )


def resized(
    image: UInt8[ndarray, "H W 3"],
    size: tuple[int, int],
    device: Any,
    dtype: Any,
    normalization: Normalization = IMAGENET,
) -> Any:
    """(3, h, w) tensor of an image, normalized as its model wants.

    The same as the transformers processors do, which need torchvision.
    """
    torch = require("torch")
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device)
    pixels = pixels.permute(2, 0, 1)[None].float() / 255
    pixels = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)[0]
    mean, spread = (torch.tensor(x, device=device)[:, None, None] for x in normalization)
    return ((pixels - mean) / spread).to(dtype)


def _visible_area(box: Float[ndarray, " 4"], height: int, width: int) -> float:
    if not np.isfinite(box).all():
        return 0.0
    sides = np.minimum(box[2:], (width, height)) - np.maximum(box[:2], 0)
    return float(np.prod(np.maximum(sides, 0)))


def _image_size(config: Any) -> int:
    size = config.image_size
    return int(size if isinstance(size, int) else size[0])


def _lazy_session_class(name: str, normalization: Normalization) -> type:
    """The library's session, with frames resized on demand and memories dropped once out of reach."""
    session_class: Any = getattr(require("transformers"), name)

    class LazySession(session_class):
        def __init__(self, frames: ndarray, size: int, device: Any, dtype: Any):
            super().__init__(
                video_height=frames.shape[1],
                video_width=frames.shape[2],
                inference_device=device,
                inference_state_device=device,
                dtype=dtype,
            )
            self._frames, self._size = frames, size

        @property
        def num_frames(self) -> int:
            return len(self._frames)

        def get_frame(self, frame_idx: int) -> Any:
            shape = (self._size, self._size)
            frame = self._frames[frame_idx]
            return resized(frame, shape, self.inference_device, self.dtype, normalization)

        def forget(self, frame: int, start: int, reach: int) -> None:
            """Drop what no later frame looks at: full-size masks, and memories out of reach.

            The way back looks at frames just after the prompted one, so those stay.
            """
            for outputs in self.output_dict_per_obj.values():
                for stored in outputs.values():
                    if frame in stored:
                        stored[frame].pop("high_res_masks", None)
                memories = outputs["non_cond_frame_outputs"]
                for old in [t for t in memories if abs(t - frame) > reach < abs(t - start)]:
                    del memories[old]

    return LazySession
