#!/usr/bin/env bash
# What the paper preset costs on the GPU at hand, and the tests that need one: some minutes, no downloads.
#   tools/gpu_check.sh                        a table; docs/results.md says what it holds
#   tools/gpu_check.sh --device cpu --small   the same work on a processor, with small networks: that it runs at all
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-.venv/bin/python}" -m tools.gpu_check "$@"
