#!/usr/bin/env bash
# Writes the wheel into dist/, installs it into an empty environment, and there imports it and compiles with it.
#
#   wheel.sh        checked with the Python of .venv
#   wheel.sh 3.12   checked with CPython 3.12: $PYTHON312, or pyenv's
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

use_checkout

python312() {
  local found
  if [ -n "${PYTHON312:-}" ]; then
    found="$PYTHON312"
  elif command -v pyenv >/dev/null && found="$(pyenv prefix 3.12 2>/dev/null)"; then
    found="$found/bin/python3.12"
  else
    fail "no CPython 3.12: pyenv has none (pyenv install 3.12), and PYTHON312=/path/to/python3.12 is not set"
  fi
  [ "$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = 3.12 ] ||
    fail "$found is no CPython 3.12"
  printf '%s\n' "$found"
}

case "${1:-}" in
  "") interpreter="$VENV/bin/python" ;;
  3.12) interpreter="$(python312)" ;;
  *) fail "expected no argument or 3.12, got $1" ;;
esac

step "Writing the wheel into dist/" python scripts/make_wheel.py --library "$BUILD_DIR/lib/libespmm.so"
step "Checking the wheel in an empty environment of $interpreter" \
  python scripts/check_wheel.py --python "$interpreter" dist/espmm-*.whl
