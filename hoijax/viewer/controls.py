"""The panel beside the scene: timeline, candidates, layers, the why, and edit and re-solve."""

import dataclasses
import threading
import time
from html import escape
from typing import Any

import numpy as np

from hoijax.bodies import load_body
from hoijax.errors import UserError
from hoijax.evaluation import Evaluator
from hoijax.result import Result
from hoijax.viewer import charts
from hoijax.viewer.motion import CandidateMotion, candidate_motion, edge_groups, edge_labels
from hoijax.viewer.pictures import FoundBundle
from hoijax.viewer.resolving import Edits, Resolver, final_weights
from hoijax.viewer.stage import CandidateStage, ObservedStage, dress_scene, quaternion

SIDE_STEP = 1.8  # metres between two candidates that are compared


class Viewer:
    """One result on one viser server. Public methods are what the controls do."""

    def __init__(self, server: Any, result: Result, found: FoundBundle | None) -> None:
        self.server, self.result, self.found = server, result, found
        self.body = load_body(result.body_name)
        self.grids = Evaluator(result, self.body).grids
        self.lock = threading.RLock()
        self.stages: dict[int, CandidateStage] = {}
        self.resolver: Resolver | None = None
        self.key_poses: dict[tuple[int, int], np.ndarray] = {}
        self.frame_terms: np.ndarray | None = None
        self.candidate, self.other = result.winner, (result.winner + 1) % len(result.losses)
        self.comparing, self.playing = False, False
        self.frame, self._clock = 0, 0.0
        dress_scene(server, self.stage_of(self.candidate).motion)
        self.observed = ObservedStage(server.scene, result, found) if found else None
        self.gizmo: Any = None
        self._build_panel()
        self.show_frame(0)
        self._arrange()

    @property
    def url(self) -> str:
        return f"http://{self.server.get_host()}:{self.server.get_port()}"

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
        gui.add_markdown(f"**{self.result.prompt}**")
        tabs = gui.add_tab_group()
        with tabs.add_tab("Play"):
            self._build_play(gui)
        with tabs.add_tab("Why"):
            self._build_why(gui)
        with tabs.add_tab("Edit"):
            self._build_edit(gui)

    def _build_play(self, gui: Any) -> None:
        last = self.result.frame_count - 1
        self.frame_slider = gui.add_slider("Frame", 0, max(last, 1), 1, 0)
        self.play_button = gui.add_button("Play")
        self.speed_slider = gui.add_slider("Speed", 0.1, 3.0, 0.1, 1.0)
        names = self._names()
        self.candidate_menu = gui.add_dropdown("Start", names, initial_value=names[self.candidate])
        self.compare_box = gui.add_checkbox("Side by side", False)
        self.other_menu = gui.add_dropdown("with", names, initial_value=names[self.other])
        self.contact_box = gui.add_checkbox("Contact colours", True)
        gui.add_markdown("yellow: touches, blue: 5 cm away, red: inside the object")
        self.opacity_slider = gui.add_slider("Body opacity", 0.1, 1.0, 0.05, 1.0)
        self.points_box = gui.add_checkbox("Observed points", False, disabled=not self.observed)
        self.camera_box = gui.add_checkbox("Camera", False, disabled=not self.observed)
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

    def _names(self) -> list[str]:
        marks = ["* " if k == self.result.winner else "" for k in range(len(self.result.losses))]
        return [
            f"{k + 1}. {mark}{label}"
            for k, (mark, label) in enumerate(zip(marks, self.result.labels, strict=True))
        ]

    def _build_why(self, gui: Any) -> None:
        gui.add_markdown("**Contacts of the graph**")
        self.edge_html = gui.add_html("")
        gui.add_markdown("**Loss by term and frame** (weighted)")
        self.terms_html = gui.add_html("")
        self.terms_button = gui.add_button("Measure terms by frame", disabled=not self.found)
        self.terms_button.on_click(lambda _: self.measure_terms())
        gui.add_markdown("**Loss by term and step** (weighted)")
        data, series = self._curves()
        self.curve_plot = gui.add_uplot(
            data,
            series,
            scales={"x": {"time": False}, "y": {"distr": 3, "log": 10}},
            aspect=1.2,
        )

    def _curves(self) -> tuple[tuple[np.ndarray, ...], tuple[Any, ...]]:
        history = self.result.history[self.candidate]
        curves = charts.weighted_history(history, final_weights(self.result)).astype(np.float64)
        series: list[Any] = [{"label": "step"}]
        for i, name in enumerate(self.result.term_names):
            color = charts.LINES[i % len(charts.LINES)]
            series.append({"label": name.replace("_", " "), "stroke": color, "width": 1.5})
        return (np.arange(len(curves), dtype=np.float64), *curves.T.copy()), tuple(series)

    def _build_edit(self, gui: Any) -> None:
        off = not self.found
        gui.add_markdown("**Contacts** that count")
        groups, labels = edge_groups(self.result), edge_labels(self.result)
        self.edge_boxes = []
        for g in range(int(groups.max()) + 1 if len(groups) else 0):
            label = ", ".join(labels[e] for e in np.flatnonzero(groups == g))
            self.edge_boxes.append(gui.add_checkbox(label, True, disabled=off))
        gui.add_markdown("**Weights**, as powers of ten of what they were")
        self.weight_sliders = {
            name: gui.add_slider(name.replace("_", " "), -2.0, 2.0, 0.1, 0.0, disabled=off)
            for name in self.result.term_names
        }
        gui.add_markdown("**Key pose**: drag the object in this frame")
        names = [f"{o + 1}. {asset.name}" for o, asset in enumerate(self.result.assets)]
        self.object_menu = gui.add_dropdown("Object", names, initial_value=names[0], disabled=off)
        self.drag_button = gui.add_button("Drag it in this frame", disabled=off)
        self.clear_button = gui.add_button("Forget key poses", disabled=off)
        self.solve_button = gui.add_button("Solve again", color="green", disabled=off)
        self.status = gui.add_markdown(
            "Needs the bundle that was solved." if off else "From where the candidates stand."
        )
        self.drag_button.on_click(lambda _: self.start_drag())
        self.clear_button.on_click(lambda _: self.forget_key_poses())
        self.solve_button.on_click(lambda _: self.solve_again())

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
                self._refresh_strips()

    def toggle_play(self) -> None:
        self.playing = not self.playing
        self.play_button.label = "Pause" if self.playing else "Play"
        if not self.playing:
            self._refresh_strips()

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
            self.drop_gizmo()
            self.show_frame(self.frame)
            self._arrange()
            self._refresh_curves()

    def _arrange(self) -> None:
        with self.lock, self.server.atomic():
            for k, stage in list(self.stages.items()):
                place = self.shown.index(k) if k in self.shown else 0
                stage.place(SIDE_STEP * place, k in self.shown)
                stage.show_contacts(bool(self.contact_box.value))
                opacity = float(self.opacity_slider.value)
                stage.set_opacity(None if opacity >= 1.0 else opacity)
            if self.observed:
                self.observed.root.visible = bool(self.points_box.value)
                self.observed.camera.visible = bool(self.camera_box.value)

    # --- why ---

    def _refresh_strips(self) -> None:
        motion = self.motion
        self.edge_html.content = charts.edge_strip(
            motion.edge_labels,
            motion.edge_expected,
            motion.edge_met,
            motion.edge_distances,
            self.frame,
        )
        if self.frame_terms is not None:
            self.terms_html.content = charts.term_strip(
                self.result.term_names, self.frame_terms[self.candidate], self.frame
            )

    def _refresh_curves(self) -> None:
        self.curve_plot.data = self._curves()[0]

    def measure_terms(self) -> None:
        """Every term in every frame, under the edits as they are set."""
        with self.lock:
            resolver = self._resolver_or_say()
            if resolver is not None:
                self.frame_terms = resolver.frame_terms(self.result, self.edits())
                self._refresh_strips()

    # --- edit and re-solve ---

    def edits(self) -> Edits:
        """What the controls are set to."""
        off = frozenset(g for g, box in enumerate(self.edge_boxes) if not box.value)
        factors = {n: 10.0 ** float(s.value) for n, s in self.weight_sliders.items() if s.value}
        return Edits(off, factors, dict(self.key_poses))

    def start_drag(self) -> None:
        """A gizmo at the chosen object's pose in this frame; what it is dragged to becomes a key."""
        with self.lock:
            self.drop_gizmo()
            self.playing = False
            self.play_button.label = "Play"
            o, t = int(self.object_menu.value.split(".")[0]) - 1, self.frame
            asset = self.result.assets[o]
            T = np.asarray(self.motion.clip.Ts_world_object[o, t])
            if (o, t) in self.key_poses:
                T = self.key_poses[(o, t)]
            # At the middle of the object: there it is seen, and turning does not carry it away.
            middle = T[:3, :3] @ asset.centre + T[:3, 3]
            self.gizmo = self.server.scene.add_transform_controls(
                "/drag", scale=0.4, wxyz=quaternion(T[:3, :3]), position=middle
            )
            self.gizmo.on_update(lambda _: self.drag_to(o, t))
            self.status.content = f"Drag the arrows: key pose of {asset.name} in frame {t}."

    def drag_to(self, o: int, t: int) -> None:
        """Take the gizmo's pose as the key pose of object `o` in frame `t`, and show it."""
        from scipy.spatial.transform import Rotation

        with self.lock:
            if self.gizmo is None:
                return
            T = np.eye(4, dtype=np.float32)
            T[:3, :3] = Rotation.from_quat(self.gizmo.wxyz, scalar_first=True).as_matrix()
            T[:3, 3] = self.gizmo.position - T[:3, :3] @ self.result.assets[o].centre
            self.key_poses[(o, t)] = T
            if self.frame == t:
                node = self.stage_of(self.candidate).objects[o]
                node.wxyz, node.position = self.gizmo.wxyz, T[:3, 3]

    def drop_gizmo(self) -> None:
        if self.gizmo is not None:
            self.gizmo.remove()
            self.gizmo = None

    def forget_key_poses(self) -> None:
        with self.lock:
            self.key_poses.clear()
            self.drop_gizmo()
            self.show_frame(self.frame)
            self.status.content = "No key poses."

    def _resolver_or_say(self) -> Resolver | None:
        if self.found is None:
            self.status.content = "Needs the bundle that was solved."
        elif self.resolver is None:
            try:
                self.resolver = Resolver(self.result, self.found.bundle)
            except UserError as error:
                self.status.content = escape(str(error))
        return self.resolver

    def solve_again(self) -> None:
        """Solve all candidates from where they stand, under the edits, and show what came out."""
        with self.lock:
            self.solve_button.disabled = True
            self.status.content = "Solving ..."
            try:
                self._solve_again()
            finally:
                self.solve_button.disabled = False

    def _solve_again(self) -> None:
        resolver = self._resolver_or_say()
        if resolver is None:
            return
        begun, edits = time.perf_counter(), self.edits()
        solved = resolver.solve(self.result, edits)
        if not np.isfinite(solved.losses[self.candidate]):
            self.status.content = "The losses are not finite under these edits; nothing changed."
            return
        # An edge that is off keeps its states, for when it is switched on again.
        contact = solved.contact.copy()
        contact[:, sorted(edits.groups_off)] = self.result.contact[:, sorted(edits.groups_off)]
        self.result = dataclasses.replace(solved, contact=contact)
        self.drop_gizmo()
        for stage in self.stages.values():
            stage.remove()
        self.stages.clear()
        self.frame_terms = resolver.frame_terms(self.result, edits)
        self.show_frame(self.frame)
        self._arrange()
        self._refresh_curves()
        seconds = time.perf_counter() - begun
        before, after = solved.initial_losses[self.candidate], solved.losses[self.candidate]
        self.status.content = f"Solved in {seconds:.1f} s: loss {before:.3g} to {after:.3g}."
