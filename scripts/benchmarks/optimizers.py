"""Levenberg-Marquardt against Adam on the same starts of the same scenes: loss, errors, time.

    python -m scripts.benchmarks.optimizers --scenes made --json out/optimizers_made.json
    python -m scripts.benchmarks.optimizers --scenes omomo

Everything before the descent (alignment, search, contact states) runs once a scene; then each
contestant descends from the same candidates with the same terms. Times are of the second of two
runs, in one process, so that ratios mean something on a shared machine.
"""
