"""The tab "Why": every edge of the graph met or violated, and where each term's loss comes from."""

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from hoijax.errors import UserError
from hoijax.physics.verdict import Verdict
from hoijax.viewer import charts
from hoijax.viewer.forces import judge_candidate
from hoijax.viewer.resolving import final_weights

if TYPE_CHECKING:
    from hoijax.viewer.controls import Viewer


class WhyPanel:
    """Strips of the candidate in view; `draw` follows the frame, `draw_curves` the candidate."""

    def __init__(self, viewer: "Viewer", gui: Any) -> None:
        self.viewer = viewer
        self.frame_terms: np.ndarray | None = None
        gui.add_markdown("**Contacts of the graph**")
        self.edge_html = gui.add_html("")
        self.spread_html = None
        if viewer.result.position_spread is not None:
            gui.add_markdown("**How sure**: where each object may be, of the winner")
            self.spread_html = gui.add_html("")
        self.verdicts: dict[int, tuple[Verdict, ...]] = {}
        gui.add_markdown("**Physics**: can what touches the objects carry them?")
        self.physics_html = gui.add_html("")
        self.physics_button = gui.add_button("Judge and draw forces")
        self.physics_button.on_click(lambda _: self.judge())
        gui.add_markdown("**Loss by term and frame** (weighted)")
        self.terms_html = gui.add_html("")
        self.terms_button = gui.add_button("Measure terms by frame", disabled=not viewer.source)
        self.terms_button.on_click(lambda _: self.measure_terms())
        self.status = gui.add_html("")
        gui.add_markdown("**Loss by term and step** (weighted)")
        self.curves_html = gui.add_html("")
        self.draw_curves()

    def draw(self) -> None:
        """The strips of the candidate and frame in view."""
        viewer = self.viewer
        motion = viewer.motion
        self.edge_html.content = inset(
            charts.edge_strip(
                motion.edge_labels,
                motion.edge_expected,
                motion.edge_met,
                motion.edge_distances,
                viewer.frame,
            )
        )
        self._draw_physics()
        self._draw_spread()
        if self.frame_terms is not None:
            self.terms_html.content = inset(
                charts.term_strip(
                    viewer.result.term_names, self.frame_terms[viewer.candidate], viewer.frame
                )
            )

    def judge(self) -> None:
        """Support of the candidate in view; once there, arrows follow the frame."""
        viewer = self.viewer
        with viewer.lock:
            try:
                self.verdicts[viewer.candidate] = judge_candidate(viewer.result, viewer.candidate)
            except UserError as error:
                self.physics_html.content = inset(escape(str(error)))
                return
            self.draw()

    def _draw_spread(self) -> None:
        result = self.viewer.result
        position, rotation, unseen = result.position_spread, result.rotation_spread, result.unseen
        if self.spread_html is None or position is None or rotation is None or unseen is None:
            return
        names = [asset.name for asset in result.assets]
        strip = charts.spread_strip(names, position, rotation, unseen, self.viewer.frame)
        self.spread_html.content = inset(strip)

    def _draw_physics(self) -> None:
        viewer = self.viewer
        for candidate, stage in viewer.stages.items():
            verdicts = self.verdicts.get(candidate, ())
            stage.forces.show(verdicts if candidate in viewer.shown else (), viewer.frame)
        verdicts = self.verdicts.get(viewer.candidate)
        if verdicts is None:
            self.physics_html.content = ""
            return
        columns = ("explained", "missing_weights", "body_force_weights")
        held, missing, forces = ([v.frames[name] for v in verdicts] for name in columns)
        strip = charts.force_strip(
            [v.object_name for v in verdicts],
            held,
            missing,
            forces,
            viewer.frame,
        )
        lines = (escape(f"{v.object_name}: {v.sentence}") for v in verdicts)
        self.physics_html.content = inset(strip + "<br>".join(lines))

    def draw_curves(self) -> None:
        """Weighted terms over the steps of the candidate in view."""
        result = self.viewer.result
        history = result.history[self.viewer.candidate]
        curves = charts.weighted_history(history, final_weights(result))
        self.curves_html.content = inset(charts.loss_curves(result.term_names, curves))

    def measure_terms(self) -> None:
        """Every term in every frame, under the edits as they are set."""
        viewer = self.viewer
        with viewer.lock:
            self.status.content = "Measuring ..."
            resolver = viewer.edit.resolver_or_say()
            if resolver is not None:
                self.frame_terms = resolver.frame_terms(viewer.result, viewer.edit.edits())
                self.draw()
            self.status.content = viewer.edit.status.content if resolver is None else ""


def inset(content: str) -> str:
    """Off the panel's edge, as viser's own controls are."""
    return f'<div style="padding:0 12px">{content}</div>'
