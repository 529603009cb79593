"""Programs around the package: benchmarks, baselines they compare to, data and pages they write. `python -m scripts.FOLDER.NAME`."""
