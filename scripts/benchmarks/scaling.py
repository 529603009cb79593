"""Time and memory of the descent against every size of the problem, with a fitted exponent.

    python -m scripts.benchmarks.scaling --json out/scaling.json --plot out/scaling.png
    python -m scripts.benchmarks.scaling --axes inits frames

One size at a time grows, the others stay at the base problem (a small one, so that the largest sizes fit a
small machine). Time is the least of a few turns of a fixed number of Levenberg-Marquardt rounds without
halving, in CPU seconds on a CPU (a shared machine changes the wall clock, not the work) and in wall seconds
elsewhere; memory is what the compiler reserves for temporaries. Exponents are slopes of a straight line
through the logarithms of the upper half of the sizes: 1 is linear.
"""
