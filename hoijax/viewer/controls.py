"""The panel beside the scene: timeline, candidates and layers; `why_panel` and `edit_panel` below it."""

import threading
import time
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from hoijax.bodies import load_body
from hoijax.results.evaluation import Evaluator
from hoijax.results.observed import FoundBundle
from hoijax.results.result import Result
from hoijax.viewer.edit_panel import EditPanel
from hoijax.viewer.motion import CandidateMotion, candidate_motion
from hoijax.viewer.server import viewer_url
from hoijax.viewer.stage import EDGE, FRUSTUM, CandidateStage, ObservedStage, dress_scene
from hoijax.viewer.why_panel import WhyPanel, inset

SIDE_STEP = 1.8  # metres between two candidates that are compared


class Viewer:
    """One result on one viser server. Public methods are what the controls do."""

    def __init__(
        self, server: Any, result: Result, observed: FoundBundle | None, folder: Path
    ) -> None:
        self.server, self.result, self.source, self.folder = server, result, observed, folder
        self.body = load_body(result.body_name)
        self.grids = Evaluator(result, self.body).grids
        self.lock = threading.RLock()
        self.stages: dict[int, CandidateStage] = {}
        self.candidate, self.other = result.winner, (result.winner + 1) % len(result.losses)
        self.comparing, self.playing = False, False
        self.frame, self._clock = 0, 0.0
        dress_scene(server, self.stage_of(self.candidate).motion)
        self.observed = ObservedStage(server.scene, result, observed) if observed else None
        self._build_panel()
        self.show_frame(0)
        self._arrange()

    @property
    def url(self) -> str:
        return viewer_url(self.server)

    def stage_of(self, candidate: int) -> CandidateStage:
        """The nodes of a candidate, made on first use."""
        if candidate not in self.stages:
            motion = candidate_motion(self.result, candidate, self.body, self.grids)
            name = f"candidate_{candidate + 1}"
            self.stages[candidate] = CandidateStage(self.server.scene, name, motion)
        return self.stages[candidate]

    @property
    def motion(self) -> CandidateMotion:
        return self.stage_of(self.candidate).motion

    @property
    def shown(self) -> list[int]:
        """Candidates in view, from left to right."""
        both = self.comparing and self.other != self.candidate
        return [self.candidate, self.other] if both else [self.candidate]

    # --- the panel ---

    def _build_panel(self) -> None:
        gui = self.server.gui
        gui.configure_theme(control_width="large", show_logo=False)
        gui.main_panel.dock_right()
        # Never markdown: viser's is MDX, which runs what stands in braces.
        gui.add_html(inset(f"<b>{escape(self.result.prompt)}</b>"))
        tabs = gui.add_tab_group()
        with tabs.add_tab("Play"):
            self._build_play(gui)
        with tabs.add_tab("Why"):
            self.why = WhyPanel(self, gui)
        with tabs.add_tab("Edit"):
            self.edit = EditPanel(self, gui)

    def _build_play(self, gui: Any) -> None:
        last = self.result.frame_count - 1
        self.frame_slider = gui.add_slider("Frame", 0, max(last, 1), 1, 0)
        self.play_button = gui.add_button("Play")
        self.speed_slider = gui.add_slider("Speed", 0.1, 3.0, 0.1, 1.0)
        names = self._names()
        self.candidate_menu = gui.add_dropdown("Start", names, initial_value=names[self.candidate])
        self.compare_box = gui.add_checkbox("Side by side", False)
        self.other_menu = gui.add_dropdown("with", names, initial_value=names[self.other])
        self.contact_box = gui.add_checkbox("Contact colors", True)
        gui.add_markdown("yellow: touches, blue: 5 cm away, red: inside the object")
        self.opacity_slider = gui.add_slider("Body opacity", 0.1, 1.0, 0.05, 1.0)
        self.points_box = gui.add_checkbox("Observed points", False, disabled=not self.observed)
        self.camera_box = gui.add_checkbox("Camera", False, disabled=not self.observed)
        self.through_box = gui.add_checkbox("Through the camera", False, disabled=not self.observed)
        if self.observed:
            gui.add_markdown(f"The camera shows {self.observed.picture_kind}.")
        else:
            gui.add_markdown("No observations: the bundle of this result is gone or was changed.")
        self.frame_slider.on_update(lambda _: self.show_frame(int(self.frame_slider.value)))
        self.play_button.on_click(lambda _: self.toggle_play())
        self.candidate_menu.on_update(lambda _: self._menus_changed())
        self.other_menu.on_update(lambda _: self._menus_changed())
        self.compare_box.on_update(lambda _: self._menus_changed())
        for box in (self.contact_box, self.points_box, self.camera_box, self.opacity_slider):
            box.on_update(lambda _: self._arrange())
        self.through_box.on_update(lambda _: self.look_through(bool(self.through_box.value)))

    def _names(self) -> list[str]:
        marks = ["* " if k == self.result.winner else "" for k in range(len(self.result.losses))]
        return [
            f"{k + 1}. {mark}{label}"
            for k, (mark, label) in enumerate(zip(marks, self.result.labels, strict=True))
        ]

    # --- time ---

    def show_frame(self, frame: int) -> None:
        """Go to a frame."""
        with self.lock, self.server.atomic():
            self.frame = int(np.clip(frame, 0, self.result.frame_count - 1))
            for candidate in self.shown:
                self.stage_of(candidate).show(self.frame)
            if self.observed:
                self.observed.show(self.frame)
            if self.frame_slider.value != self.frame:
                self.frame_slider.value = self.frame
            if not self.playing:
                self.why.draw()

    def toggle_play(self) -> None:
        self.playing = not self.playing
        self.play_button.label = "Pause" if self.playing else "Play"
        if not self.playing:
            self.why.draw()

    def pause(self) -> None:
        if self.playing:
            self.toggle_play()

    def tick(self, seconds: float) -> None:
        """Let time pass: the next frame when it is due, from the first again after the last."""
        if not self.playing:
            return
        self._clock += seconds * self.result.fps * float(self.speed_slider.value)
        steps = int(self._clock)
        if steps:
            self._clock -= steps
            self.show_frame((self.frame + steps) % self.result.frame_count)

    def run(self) -> None:
        """Play until interrupted."""
        before = time.perf_counter()
        while True:
            time.sleep(0.01)
            now = time.perf_counter()
            self.tick(now - before)
            before = now

    # --- candidates and layers ---

    def _menus_changed(self) -> None:
        names = self._names()
        self.choose(
            names.index(self.candidate_menu.value),
            names.index(self.other_menu.value) if self.compare_box.value else None,
        )

    def choose(self, candidate: int, other: int | None = None) -> None:
        """Show a candidate, or two side by side."""
        with self.lock:
            self.candidate, self.comparing = candidate, other is not None
            self.other = self.other if other is None else other
            self.edit.drop_gizmo()
            self.show_frame(self.frame)
            self._arrange()
            self.why.draw_curves()

    def _arrange(self) -> None:
        with self.lock, self.server.atomic():
            for k, stage in list(self.stages.items()):
                column = self.shown.index(k) if k in self.shown else 0
                stage.place(SIDE_STEP * column, k in self.shown)
                stage.show_contacts(bool(self.contact_box.value))
                opacity = float(self.opacity_slider.value)
                stage.set_opacity(None if opacity >= 1.0 else opacity)
            if self.observed:
                self.observed.root.visible = bool(self.points_box.value)
                through = bool(self.through_box.value)
                self.observed.camera.visible = through or bool(self.camera_box.value)

    def look_through(self, through: bool) -> None:
        """Look from the camera's place at the scene before its image; or put the image away."""
        if self.observed is None:
            return
        with self.lock, self.server.atomic():
            behind = self.observed.picture_behind(self.motion)
            self.observed.camera.scale = behind if through else FRUSTUM
            # from inside, edges that meet at the eye would cover all
            self.observed.camera.thickness = 0.0 if through else EDGE
            self._arrange()
            if through:
                wxyz, position, fov = self.observed.pose(self.frame)
                for client in self.server.get_clients().values():
                    client.camera.wxyz, client.camera.position = wxyz, position
                    client.camera.fov = fov

    # --- another result ---

    def show_result(self, result: Result) -> None:
        """Show other poses of the same scene. Nodes stay: viser's client fails when bones go."""
        with self.lock:
            self.result = result
            self.why.verdicts.clear()
            for k, stage in self.stages.items():
                stage.change(candidate_motion(result, k, self.body, self.grids))
            self.show_frame(self.frame)
            self._arrange()
            self.why.draw_curves()
