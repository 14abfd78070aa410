#!/usr/bin/env bash
# Compiles every kernel for sm_80, sm_90 and sm_100 without a GPU, and prints registers, shared memory and spills of each.
# NVRTC 13.0 comes from PyPI into a virtual environment below the target folder. A spill or a warning fails.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv="$(realpath -m "${CARGO_TARGET_DIR:-target}/nvrtc")"
if [ ! -e "$venv/ready" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r kernels/cuda/requirements.txt
  touch "$venv/ready"
fi
library="$(dirname "$(find "$venv" -name libnvrtc.so.13)")"
# NVRTC looks for its libnvrtc-builtins there, too.
export LD_LIBRARY_PATH="$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
report="$(mktemp)"
trap 'rm -f "$report"' EXIT
cargo test --workspace --lib -- --ignored --exact --nocapture cuda::tests::compile::every_kernel_compiles_without_spills | tee "$report"
# A name that no test has would pass, too.
grep -q "1 passed" "$report"
