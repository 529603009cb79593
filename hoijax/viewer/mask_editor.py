"""Marking objects in a clip or photograph in the browser: `hoijax mask CLIP`, by viser.

The frame hangs in the scene as an image of unit width, x right and y down, with the camera before it.
"""

import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.viewer.server import start_server, viewer_url

if TYPE_CHECKING:
    from priors.observe.mask_session import MaskSession

HOW = (
    "Drag a box around all of the object, or click on it. Then <b>{then}</b>, look through {where}, "
    "and correct: a click adds what it hits, Shift-click takes it away, a new box cuts anew."
)
JPEG_QUALITY = 85


def open_mask_editor(session: "MaskSession", out: Path, *, host: str, port: int) -> "MaskEditor":
    """Serve a clip at http://host:port and return at once.

    Raises UserError where viser is missing or the port is taken.
    """
    server = start_server(host, port)
    try:
        return MaskEditor(server, session, out)
    except BaseException:
        server.stop()
        raise


def pixel_of_ray(
    origin: Float[ndarray, " 3"], direction: Float[ndarray, " 3"], width: int, height: int
) -> tuple[float, float] | None:
    """Where a ray meets the image, in pixels; None where it does not come to its plane."""
    if abs(direction[2]) < 1e-9 or -origin[2] / direction[2] < 0:
        return None
    x, y = (origin - direction * (origin[2] / direction[2]))[:2]
    return float((x + 0.5) * width), float(y * width + 0.5 * height)


def ray_of_screen(camera: Any, pixel: tuple[float, float]) -> Float[ndarray, " 3"]:
    """Direction in the world of a point on the screen (0 to 1 from its top left)."""
    from scipy.spatial.transform import Rotation

    reach = np.tan(camera.fov / 2)
    x, y = 2 * pixel[0] - 1, 2 * pixel[1] - 1
    w, *xyz = camera.wxyz
    return Rotation.from_quat([*xyz, w]).apply([x * reach * camera.aspect, y * reach, 1.0])


class MaskEditor:
    """The page: a frame, the objects, and what is known of them."""

    def __init__(self, server: Any, session: "MaskSession", out: Path):
        self.server, self.session, self.out = server, session, out
        self.is_running = False
        self._build_panel()
        server.scene.set_up_direction("-y")
        server.scene.on_click()(lambda event: self._clicked(event, 1))
        server.scene.on_click(modifier="shift")(lambda event: self._clicked(event, -1))
        server.scene.on_rect_select()(self._selected)
        server.on_client_connect(_look_at_picture)
        self.show()

    @property
    def url(self) -> str:
        return viewer_url(self.server)

    def run(self) -> None:
        """Serve until interrupted."""
        while True:
            time.sleep(0.1)

    def _build_panel(self) -> None:
        gui = self.server.gui
        gui.configure_theme(control_width="large", show_logo=False)
        gui.main_panel.dock_right()
        alone = self.session.is_photograph
        follow = "Find all" if alone else "Follow"
        gui.add_html(HOW.format(then=follow, where="the masks" if alone else "the frames"))
        last = max(1, len(self.session.frames) - 1)
        self.frame_slider = gui.add_slider("Frame", 0, last, 1, 0, visible=not alone)
        self.object_menu = gui.add_dropdown("Object", list(self.session.objects))
        self.follow_button = gui.add_button(follow)
        self.forget_button = gui.add_button("Forget the hint here")
        self.save_button = gui.add_button("Save")
        self.status = gui.add_html("")
        self.frame_slider.on_update(lambda _: self.show())
        self.follow_button.on_click(lambda _: self._try(self._follow))
        self.forget_button.on_click(lambda _: self._try(self._forget))
        self.save_button.on_click(lambda _: self._try(self._save))

    @property
    def frame(self) -> int:
        return int(self.frame_slider.value)

    @property
    def object(self) -> str:
        """Name of the object that is marked."""
        return str(self.object_menu.value)

    def show(self) -> None:
        """The frame with its masks and hints."""
        image = self.session.overlay(self.frame)
        ratio = image.shape[0] / image.shape[1]
        self.server.scene.add_image(
            "/frame", image, 1.0, ratio, format="jpeg", jpeg_quality=JPEG_QUALITY
        )

    def say(self, text: str) -> None:
        self.status.content = escape(text).replace("\n", "<br>")

    # --- what the user does ---

    def _clicked(self, event: Any, sign: int) -> None:
        where = self._pixel(np.asarray(event.ray_origin), np.asarray(event.ray_direction))
        if where is not None:
            self._try(lambda: self.mark_point(*where, sign))

    def _selected(self, event: Any) -> None:
        camera = event.client.camera
        places = (event.screen_min, event.screen_max)
        rays = [ray_of_screen(camera, pixel) for pixel in places]
        low, high = (self._pixel(np.asarray(camera.position), ray) for ray in rays)
        if low is not None and high is not None:
            corner, other = np.minimum(low, high), np.maximum(low, high)
            self._try(lambda: self.mark_box(*corner, *(other - corner)))

    def _pixel(self, origin: ndarray, direction: ndarray) -> tuple[float, float] | None:
        height, width = self.session.frames.shape[1:3]
        return pixel_of_ray(origin, direction, width, height)

    def mark_point(self, u: float, v: float, sign: int) -> None:
        """A pixel of the frame is on the object (+1) or beside it (-1)."""
        self.session.add_point(self.object, self.frame, u, v, sign)
        self._cut()

    def mark_box(self, left: float, top: float, width: float, height: float) -> None:
        """The object lies in a box of the frame."""
        box = (float(left), float(top), float(width), float(height))
        self.session.set_box(self.object, self.frame, box)
        self._cut()

    def _cut(self) -> None:
        self.session.preview(self.object, self.frame)
        if self.session.is_photograph:
            self.say(f"{self.object}: marked. Find all looks for people too.")
        else:
            self.say(f"{self.object}: marked in frame {self.frame}. Follow takes it to the others.")

    def _follow(self) -> None:
        self.say("following ...")
        self.session.propagate()
        seen = [
            f"{name}: seen in {int(mask.any((1, 2)).sum())} of {len(mask)} frames"
            for name, mask in self.session.masks.items()
        ]
        self.say("\n".join(seen))

    def _forget(self) -> None:
        self.session.forget(self.object, self.frame)
        self.say(f"{self.object}: no hint in frame {self.frame}. Follow again to use the others.")

    def _save(self) -> None:
        path = self.session.save(self.out)
        if self.session.is_photograph:
            self.say(f"wrote {path}: its PNGs are the masks that hoijax align takes")
        else:
            self.say(
                f"wrote {path}: give it to hoijax observe as --masks, or its hints.json as --hint"
            )

    def _try(self, work: Any) -> None:
        """Do one thing at a time, and say what went wrong."""
        if self.is_running:
            return
        self.is_running = True
        try:
            work()
        except UserError as error:
            self.say(str(error))
        finally:
            self.is_running = False
            self.show()


def _look_at_picture(client: Any) -> None:
    client.camera.up_direction = (0.0, -1.0, 0.0)
    client.camera.position = (0.0, 0.0, -1.0)
    client.camera.look_at = (0.0, 0.0, 0.0)
