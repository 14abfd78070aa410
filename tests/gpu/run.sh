#!/usr/bin/env bash
# Everything that only a GPU can tell, in one command: is every kernel right there, how fast is each beside PyTorch, do whole training
# steps of the paper's model agree with PyTorch and how long do they take, how fast is training from Parquet and from the arena, and does
# `jumppad` train on it, end to end.
#
# usage: tests/gpu/run.sh FOLDER [LABORATORY [PLAYHOUSE]]
#
# FOLDER gets a log and the figures of every part, and summary.txt. The programs default to target/release/{laboratory,playhouse}; neither
# needs Rust where it runs, only the driver, NVRTC and cuBLASLt. Parts whose needs are absent (PyTorch 2.11, compute-sanitizer, playhouse)
# are skipped and listed as such; one that fails does not keep the others from running. Exit status 1 if any failed.
#
# Where a GPU is lent by the minute: PARTS="check time step" runs only those, and LIMIT=120 ends each part after so many seconds. The
# parts come in the order of what they tell for their time; every operator under torch.compile takes longest.
set -uo pipefail

if [ $# -lt 1 ] || [ $# -gt 3 ] || [[ "$1" == -* ]]; then
  echo "usage: [PARTS=\"check time\"] [LIMIT=SECONDS] tests/gpu/run.sh FOLDER [LABORATORY [PLAYHOUSE]]" >&2
  exit 2
fi
folder="$1"
here="$(cd "$(dirname "$0")" && pwd)"
laboratory="$(realpath -m "${2:-$here/../../target/release/laboratory}")"
playhouse="$(realpath -m "${3:-$here/../../target/release/playhouse}")"
if [ ! -x "$laboratory" ]; then
  echo "run.sh: no program $laboratory; build it with: cargo build --release -p playhouse-laboratory" >&2
  exit 1
fi
mkdir -p "$folder" && cd "$folder" || exit 1
failed=0
export here laboratory playhouse

line() { printf '%-34s %s\n' "$1" "$2" | tee -a summary.txt; }

# Whether a part is asked for; all are where nobody says which.
asked() { [ -z "${PARTS:-}" ] || [[ " $PARTS " == *" $1 "* ]]; }

# part NAME COMMAND...: runs it into NAME.log. The command may be a function of this script.
part() {
  local name="$1" since=$SECONDS status=0 run=(bash -c '"$@"' part); shift
  asked "$name" || return 0
  [ -z "${LIMIT:-}" ] || run=(timeout "$LIMIT" "${run[@]}")
  "${run[@]}" "$@" > "$name.log" 2>&1 || status=$?
  case $status in
    0) line "$name" "done in $((SECONDS - since)) s" ;;
    124) line "$name" "ENDED at its limit of $LIMIT s: see $name.log"; failed=1 ;;
    *) line "$name" "FAILED after $((SECONDS - since)) s: see $name.log"; failed=1 ;;
  esac
}

# One rank a GPU, as torchrun starts them.
every_gpu() {
  local size rank pids=() status=0
  size="$(wc -l < gpu.txt)"
  for ((rank = 0; rank < size; rank++)); do
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$size MASTER_ADDR=127.0.0.1 MASTER_PORT=29511 \
      "$playhouse" --home every-gpu run jumppad-small --device cuda &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return "$status"
}

# How fast the paper's model trains from Parquet and from the arena, in frames a second.
feed() {
  # What an earlier run has finished would not be timed again.
  rm -rf feed
  # Thirty steps of 256 windows of 32 frames.
  "$playhouse" --home feed run "$here/feed.toml" --device cuda &&
    "$playhouse" --home feed sql --format csv -f "$here/feed.sql" --param frames=$((30 * 256 * 32)) | tee feed.csv
  # A line for each codec, and one of names.
  [ "$(wc -l < feed.csv)" -eq 4 ]
}

export -f every_gpu feed

has_torch() { python3 -c 'import torch; assert torch.cuda.is_available()' > /dev/null 2>&1; }

if ! nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader > gpu.txt 2>&1; then
  echo "run.sh: nvidia-smi finds no GPU: $(head -1 gpu.txt)" >&2
  exit 1
fi
date -u '+%F %H:%M UTC' > summary.txt
line "gpu" "$(head -1 gpu.txt)"
capability="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)"

part check "$laboratory" check --usage "sm_$capability" --json check.json
part time "$laboratory" time --json times.json
part step "$laboratory" step step
if has_torch; then part step-pytorch python3 "$here/step.py" step --json step-pytorch.json
else line "step-pytorch, time-pytorch" "skipped: no PyTorch with CUDA"; fi
# Weights and noise are made again in a second; the figures stay.
rm -f step/*.u8 step/*.safetensors
if [ -x "$playhouse" ]; then
  part doctor "$playhouse" doctor
  part feed feed
  part jumppad "$playhouse" run jumppad --device cuda
  # One rank sums through NCCL as many do: the same figures as without, and what the sums cost.
  part one-rank env RANK=0 WORLD_SIZE=1 "$playhouse" --home one-rank run jumppad-small --device cuda
  if [ "$(wc -l < gpu.txt)" -gt 1 ]; then part every-gpu every_gpu
  else line every-gpu "skipped: there is one"; fi
  part jumppad-small-model "$playhouse" --home small run jumppad --set model=small --device cuda
else
  line "jumppad and others" "skipped: no $playhouse"
fi
if command -v compute-sanitizer > /dev/null; then part sanitize "$laboratory" sanitize
else line sanitize "skipped: no compute-sanitizer on PATH"; fi
if has_torch; then part time-pytorch python3 "$here/pytorch.py" times.json --json times-pytorch.json; fi
exit "$failed"
