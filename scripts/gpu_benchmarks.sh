#!/bin/bash
# Everything a GPU is wanted for, smallest first, in at most nine minutes: docs/results/gpu.json.
#
#   scripts/gpu_benchmarks.sh                 on the machine with the GPU, in the repository's root
#   scripts/gpu_benchmarks.sh --rehearse      small sizes on the CPU, to see that all of it runs
#
# What is in the JSON file already is not run again: after a cut the same command goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
export XLA_PYTHON_CLIENT_PREALLOCATE=false TF_CPP_MIN_LOG_LEVEL=2
exec python -m scripts.benchmarks.gpu "$@"
