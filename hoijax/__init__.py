"""hoijax: zero-shot 4D human-object interaction. `hoijax.solve(bundle)` is `hoijax solve BUNDLE`."""
