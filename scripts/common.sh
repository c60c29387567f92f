# Shared by the scripts beside it: where things are, and steps that say what they do and how long it took.
# To be sourced by bash.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
BUILD_DIR="${BUILD_DIR:-$ROOT/build}"
VENV="${VENV:-$ROOT/.venv}"
LLVM_PREFIX="${LLVM_PREFIX:-/usr/lib/llvm-22}"
JOBS="${JOBS:-$(nproc)}"

cd "$ROOT"

say() { printf '%s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

now() { date +%s.%N; }

seconds_since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

# run_step "what is being done" command [arguments]: says it, runs the command under `set -e`, says how long it took, and gives
# its status. Leaves `set -e` off, so that it is the caller who decides what a failure means.
run_step() {
  local title="$1" start status
  shift
  set +e
  say "==> $title"
  start="$(now)"
  (
    set -e
    "$@"
  )
  status=$?
  if [ "$status" -eq 0 ]; then
    say "    done: $(seconds_since "$start") s"
  else
    printf '    FAILED with exit status %s after %s s\n' "$status" "$(seconds_since "$start")" >&2
  fi
  return "$status"
}

# step: the script ends if the command fails. Call it and `attempt` plainly: in `step ... || ...`, bash would ignore `set -e`
# within the command too.
step() {
  run_step "$@"
  local status=$?
  set -e
  [ "$status" -eq 0 ] || exit "$status"
}

# attempt: the script goes on if the command fails; `failures` counts.
failures=0
attempt() {
  run_step "$@"
  local status=$?
  set -e
  [ "$status" -eq 0 ] || failures=$((failures + 1))
}

# skip "what would have been done" "why it need not be"
skip() { say "==> $1: $2"; }

# The environment in which the project's Python is run from the checkout.
use_checkout() {
  export PATH="$VENV/bin:$PATH"
  export PYTHONPATH="$ROOT/python${PYTHONPATH:+:$PYTHONPATH}"
}
