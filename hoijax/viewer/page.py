"""One html file that plays a result: viser's own client with the recorded scene inside, and the why."""

from html import escape

from hoijax.bodies import load_body
from hoijax.results.observed import FoundBundle
from hoijax.results.result import Result
from hoijax.viewer import charts
from hoijax.viewer.motion import CandidateMotion, candidate_motion
from hoijax.viewer.resolving import final_weights
from hoijax.viewer.server import start_server
from hoijax.viewer.stage import CandidateStage, ObservedStage, dress_scene


def static_page(result: Result, bundle: FoundBundle | None, candidate: int) -> str:
    """The html of one candidate; loops at the clip's frame rate."""
    motion = candidate_motion(result, candidate, load_body(result.body_name))
    server = start_server("127.0.0.1", 0)  # nobody connects: viser records only through a server
    try:
        dress_scene(server, motion)
        stage = CandidateStage(server.scene, f"candidate_{candidate + 1}", motion)
        observed = ObservedStage(server.scene, result, bundle) if bundle else None
        serializer = server.get_scene_serializer()
        for frame in range(result.frame_count):
            stage.show(frame)
            if observed:
                observed.show(frame)
            serializer.insert_sleep(1.0 / result.fps)
        page = serializer.as_html()
    finally:
        server.stop()
    end = page.rindex("</body>")
    return page[:end] + panel(result, candidate, motion) + page[end:]


def panel(result: Result, candidate: int, motion: CandidateMotion) -> str:
    """The prompt, the edges and the loss curves, folded away in a corner of the page."""
    curves = charts.weighted_history(result.history[candidate], final_weights(result))
    edges = charts.edge_strip(
        motion.edge_labels, motion.edge_expected, motion.edge_met, motion.edge_distances
    )
    return (
        '<details style="position:fixed;right:8px;top:8px;z-index:9;max-width:340px;color:#222;'
        "background:#fffffff0;border-radius:6px;padding:6px 10px;font:12px sans-serif;"
        'box-shadow:0 1px 4px #0004">'
        f"<summary>{escape(result.prompt)} — {escape(result.labels[candidate])}, "
        f"loss {result.losses[candidate]:.3g}</summary>"
        f"<h4>Contacts of the graph</h4>{edges}"
        f"<h4>Loss terms</h4>{charts.loss_curves(result.term_names, curves)}"
        "</details>"
    )
