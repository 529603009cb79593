"""How often a sweep compiles: 4 weights x 3 values (81 designs) x 16 candidates x 5 small scenes.

    python -m scripts.benchmarks.sweep --save docs/results/sweep.json

Scenes of two kinds, of few points and steps; a second sweep with other numbers, robust scales among
them, must compile nothing.
"""

import argparse
import json
import os
import time
from pathlib import Path

FOUR = "object_points=1,10,1e3 part_points=1,10,300 contact=0,1e1,1e2 penetration=0,0:3,10"
OTHERS = "object_points.scale=0.02,0.05,0.1 model_mask.scale=4,8,16 contact.end=1,5,9 ground=1,2,3"
SCENES = ("box", "box", "ball", "ball", "box")
INITS = 16


def _settings():
    """A few short steps: what is measured is how many descents one program serves."""
    from hoijax.methods.hoi_page.method import METHOD
    from hoijax.settings import AlignmentSettings

    return METHOD.settings(
        inits=INITS,
        start="yaw",
        steps=3,
        grid_resolution=10,
        points=64,
        contact_points=8,
        alignment=AlignmentSettings(steps=5, points=64, vertices=256),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path)
    save = parser.parse_args().save
    from hoijax.api.observe import load_objects, observe
    from hoijax.experiments.blocks import block_size, solve_designs
    from hoijax.experiments.designs import factor_names, make_designs, parse_factors
    from hoijax.experiments.sweep import stacked_designs
    from hoijax.jobs.scene_batch import scenes_at_once
    from hoijax.methods.hoi_page.method import METHOD
    from hoijax.methods.running import MethodBatch, job_of
    from hoijax.progress import silent
    from hoijax.runtime import describe_device, enable_compilation_cache, versions
    from hoijax.solver.batch import buckets_of

    enable_compilation_cache()
    settings = _settings()
    jobs = []
    for seed, name in enumerate(SCENES):
        bundle, _ = observe(f"a person lifts a {name}", load_objects([name]), frames=12, seed=seed)
        jobs.append(job_of(METHOD.prepare(bundle, settings, (), silent)))
    table = METHOD.terms(settings)
    batch = MethodBatch(METHOD, settings, max_scenes=scenes_at_once())
    solver, traces = batch.solver(METHOD.passes(settings)[0], table), []
    solve = solver.solve

    def counted(*given):
        traces.append(1)
        return solve(*given)

    solver.solve = counted
    report = {
        "scenes": len(jobs),
        "candidates": INITS,
        "buckets": len(buckets_of(jobs)),
        "sweeps": [],
        "device": describe_device(),
        "load": os.getloadavg()[0],
        "versions": versions(),
    }
    for text in (FOUR, OTHERS):
        factors = parse_factors(text, factor_names(table))
        designs = make_designs(factors)
        begun = time.perf_counter()
        solutions = solve_designs(solver, jobs, stacked_designs(designs, table, METHOD, settings))
        assert all(s.losses.shape == (len(designs), INITS) for s in solutions)
        report["sweeps"].append(
            {
                "factors": text,
                "designs": len(designs),
                "designs_of_a_block": block_size(len(designs)),
                "descents": len(designs) * INITS * len(jobs),
                "programs_so_far": len(solver.compiled),
                "traces_so_far": len(traces),
                "seconds": round(time.perf_counter() - begun, 1),
            }
        )
    print(json.dumps(report, indent=2))
    if save is not None:
        save.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
