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

# step "what is being done" command [arguments]: runs the command; its exit status is the step's.
step() {
  local title="$1" start status=0
  shift
  say "==> $title"
  start="$(now)"
  # Not `"$@" || status=$?`: that would switch off `set -e` inside a function given as the command.
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  if [ "$status" -eq 0 ]; then
    say "    done: $(seconds_since "$start") s"
  else
    say "    FAILED with exit status $status after $(seconds_since "$start") s" >&2
  fi
  return "$status"
}

# skip "what would have been done" "why it need not be"
skip() { say "==> $1: $2"; }

# The environment in which the project's Python is run from the checkout.
use_checkout() {
  export PATH="$VENV/bin:$PATH"
  export PYTHONPATH="$ROOT/python${PYTHONPATH:+:$PYTHONPATH}"
}
