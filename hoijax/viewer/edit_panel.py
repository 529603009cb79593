"""The tab "Edit": switch edges, change weights, drag an object, solve again, save."""

import dataclasses
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoijax.errors import UserError
from hoijax.viewer.motion import edge_labels
from hoijax.viewer.resolving import Edits, Resolver, recorded
from hoijax.viewer.stage import quaternion

if TYPE_CHECKING:
    from hoijax.viewer.controls import Viewer


class EditPanel:
    """What the controls are set to, the handle that drags objects, and solving again."""

    def __init__(self, viewer: "Viewer", gui: Any) -> None:
        self.viewer = viewer
        self.resolver: Resolver | None = None
        self.key_poses: dict[tuple[int, int], np.ndarray] = {}
        self.solved_under: Edits | None = None
        """The edits of what is shown, where it was solved here."""
        self.gizmo: Any = None
        self._build(gui, off=not viewer.source)

    def _build(self, gui: Any, off: bool) -> None:
        result = self.viewer.result
        gui.add_markdown("**Contacts** that count")
        groups, labels = result.contact_table.group, edge_labels(result)
        self.edge_boxes = []
        for g in range(int(groups.max()) + 1 if len(groups) else 0):
            label = ", ".join(labels[e] for e in np.flatnonzero(groups == g))
            self.edge_boxes.append(gui.add_checkbox(label, True, disabled=off))
        gui.add_markdown("**Weights**, as powers of ten of what they were")
        self.weight_sliders = {
            name: gui.add_slider(name.replace("_", " "), -2.0, 2.0, 0.1, 0.0, disabled=off)
            for name in result.term_names
        }
        gui.add_markdown("**Key pose**: drag the object in this frame")
        names = [f"{o + 1}. {asset.name}" for o, asset in enumerate(result.assets)]
        self.object_menu = gui.add_dropdown("Object", names, initial_value=names[0], disabled=off)
        self.drag_button = gui.add_button("Drag it in this frame", disabled=off)
        self.clear_button = gui.add_button("Forget key poses", disabled=off)
        self.solve_button = gui.add_button("Solve again", color="green", disabled=off)
        self.status = gui.add_html(
            "Needs the bundle that was solved." if off else "From where the candidates stand."
        )
        self.folder_text = gui.add_text("Save to", str(self.viewer.folder) + "-edited")
        self.save_button = gui.add_button("Save as a result folder", disabled=True)
        self.drag_button.on_click(lambda _: self.start_drag())
        self.clear_button.on_click(lambda _: self.forget_key_poses())
        self.solve_button.on_click(lambda _: self.solve_again())
        self.save_button.on_click(lambda _: self.save())

    def edits(self) -> Edits:
        """What the controls are set to."""
        off = frozenset(g for g, box in enumerate(self.edge_boxes) if not box.value)
        factors = {n: 10.0 ** float(s.value) for n, s in self.weight_sliders.items() if s.value}
        return Edits(off, factors, dict(self.key_poses))

    # --- dragging ---

    def start_drag(self) -> None:
        """A gizmo at the chosen object's pose in this frame; what it is dragged to becomes a key."""
        viewer = self.viewer
        with viewer.lock:
            self.drop_gizmo()
            viewer.pause()
            o, t = int(self.object_menu.value.split(".")[0]) - 1, viewer.frame
            asset = viewer.result.assets[o]
            T = np.asarray(viewer.motion.clip.Ts_world_object[o, t])
            if (o, t) in self.key_poses:
                T = self.key_poses[(o, t)]
            # At the middle of the object: there it is seen, and turning does not carry it away.
            middle = T[:3, :3] @ asset.center + T[:3, 3]
            self.gizmo = viewer.server.scene.add_transform_controls(
                "/drag", scale=0.4, wxyz=quaternion(T[:3, :3]), position=middle
            )
            self.gizmo.on_update(lambda _: self.drag_to(o, t))
            self.status.content = f"Drag the arrows: key pose of {escape(asset.name)} in frame {t}."

    def drag_to(self, o: int, t: int) -> None:
        """Take the gizmo's pose as the key pose of object `o` in frame `t`, and show it."""
        from scipy.spatial.transform import Rotation

        viewer = self.viewer
        with viewer.lock:
            if self.gizmo is None:
                return
            T = np.eye(4, dtype=np.float32)
            T[:3, :3] = Rotation.from_quat(self.gizmo.wxyz, scalar_first=True).as_matrix()
            T[:3, 3] = self.gizmo.position - T[:3, :3] @ viewer.result.assets[o].center
            self.key_poses[(o, t)] = T
            if viewer.frame == t:
                node = viewer.stage_of(viewer.candidate).objects[o]
                node.wxyz, node.position = self.gizmo.wxyz, T[:3, 3]

    def drop_gizmo(self) -> None:
        if self.gizmo is not None:
            self.gizmo.remove()
            self.gizmo = None

    def forget_key_poses(self) -> None:
        viewer = self.viewer
        with viewer.lock:
            self.key_poses.clear()
            self.drop_gizmo()
            viewer.show_frame(viewer.frame)
            self.status.content = "No key poses."

    # --- solving ---

    def resolver_or_say(self) -> Resolver | None:
        """The problem of this result; None, and why not in the status line."""
        viewer = self.viewer
        if viewer.source is None:
            self.status.content = "Needs the bundle that was solved."
        elif self.resolver is None:
            try:
                self.resolver = Resolver(viewer.result, viewer.source.bundle)
            except UserError as error:
                self.status.content = escape(str(error))
        return self.resolver

    def solve_again(self) -> None:
        """Solve all candidates from where they stand, under the edits, and show what came out."""
        with self.viewer.lock:
            self.solve_button.disabled = True
            self.status.content = "Solving ..."
            try:
                self._solve_again()
            finally:
                self.solve_button.disabled = False

    def _solve_again(self) -> None:
        resolver = self.resolver_or_say()
        if resolver is None:
            return
        viewer = self.viewer
        begun, edits = time.perf_counter(), self.edits()
        solved = resolver.solve(viewer.result, edits)
        candidate = viewer.candidate
        if not np.isfinite(solved.losses[candidate]):
            self.status.content = "The losses are not finite under these edits; nothing changed."
            return
        # An edge that is off keeps its states, for when it is switched on again.
        contact = solved.contact.copy()
        contact[:, sorted(edits.groups_off)] = viewer.result.contact[:, sorted(edits.groups_off)]
        self.drop_gizmo()
        self.solved_under = edits
        viewer.why.frame_terms = resolver.frame_terms(solved, edits)
        viewer.show_result(dataclasses.replace(solved, contact=contact))
        self.save_button.disabled = False
        seconds = time.perf_counter() - begun
        before, after = solved.initial_losses[candidate], solved.losses[candidate]
        self.status.content = f"Solved in {seconds:.1f} s: loss {before:.3g} to {after:.3g}."

    def save(self) -> Path | None:
        """Write what is shown as a result folder of its own; None, and why not in the status."""
        from hoijax.api.result_folder import save_to_folder

        viewer = self.viewer
        with viewer.lock:
            if self.solved_under is None or self.resolver is None or viewer.source is None:
                self.status.content = "Nothing was solved here yet."
                return None
            self.save_button.disabled = True
            self.status.content = "Saving ..."
            try:
                result = recorded(
                    viewer.result, self.resolver, self.solved_under, viewer.source.path
                )
                out = Path(self.folder_text.value.strip()).expanduser()
                if out.absolute() == viewer.folder.absolute():
                    raise UserError("that is the result in view. Give another folder.")
                save_to_folder(result, out)
            except UserError as error:
                self.status.content = escape(str(error))
                return None
            finally:
                self.save_button.disabled = False
            self.status.content = f"Saved in {escape(str(out))}."
            return out
