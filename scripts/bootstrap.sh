#!/usr/bin/env bash
# Gets a machine ready to build espmm: the Debian packages, and .venv with the Python packages of requirements.lock.
# Does nothing when everything is there. With no root rights it names what is missing and stops.
#
#   PYTHON=/path/to/python3   the interpreter of .venv (default: the first of python3.11, python3, ... that will do)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

APT_PACKAGES=(
  ca-certificates git cmake ninja-build
  clang-22 lld-22 llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools
  libzstd-dev zlib1g-dev
)
LOCK="$ROOT/requirements.lock"
STAMP="$VENV/.installed-lock"

# The packages of requirements.lock exist for Python 3.11 and later.
usable_python() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3 /usr/bin/python3 python3.12 python3.13; do
    if usable_python "$candidate"; then
      printf '%s\n' "$candidate"
      return 0
    fi
    # What the user asked for by name is not silently replaced.
    [ "$candidate" != "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not a Python 3.11 or later with venv and ensurepip"
  done
  return 1
}

missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
  done
}

require_candidates() {
  local package without=()
  for package in "$@"; do
    apt-cache show "$package" >/dev/null 2>&1 || without+=("$package")
  done
  [ "${#without[@]}" -eq 0 ] || fail "apt knows no package named: ${without[*]}
LLVM 22 for Debian 12 (bookworm) is in the suite bookworm-security, component main: see that
/etc/apt/sources.list or /etc/apt/sources.list.d names that suite, then run this again. On another
release, add a source that has LLVM 22's packages under these names."
}

install_packages() {
  "${AS_ROOT[@]}" apt-get update -qq
  require_candidates "$@"
  "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

debian_packages() {
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    fail "this is no Debian (no dpkg-query, no apt-get); what is needed, by its names there: ${APT_PACKAGES[*]} python3 python3-venv"
  local wanted=("${APT_PACKAGES[@]}") missing=()
  find_python >/dev/null || wanted+=(python3 python3-venv)
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  if [ "${#missing[@]}" -eq 0 ]; then
    skip "Debian packages" "all ${#wanted[@]} are installed"
    return
  fi
  if [ "$(id -u)" -eq 0 ]; then
    AS_ROOT=()
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    AS_ROOT=(sudo)
  else
    fail "these Debian packages are missing, and installing them takes root rights, which this user has not: ${missing[*]}
Have them installed by:  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  fi
  step "Installing ${#missing[@]} Debian packages (1 to 3 minutes): ${missing[*]}" install_packages "${missing[@]}"
}

make_venv() {
  "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$PYTHON_FOUND" -m venv "$VENV"
  "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off -r "$LOCK" |
    sed -u '/^Requirement already satisfied/d; s/^/    /'
}

# The lock and the interpreter, so that a change of either installs again.
lock_state() {
  [ -x "$VENV/bin/python" ] || return 0
  { cat "$LOCK" && "$VENV/bin/python" -c 'import sys; print(sys.version)'; } | sha256sum
}

python_packages() {
  if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(lock_state)" ]; then
    skip "Python packages" "$VENV is as requirements.lock says"
    return
  fi
  PYTHON_FOUND="$(find_python)" || fail "no Python 3.11 or later with venv and ensurepip was found, even after installing Debian's"
  step "Installing $(grep -c == "$LOCK") Python packages into $VENV (1 to 3 minutes)" make_venv
  lock_state > "$STAMP"
}

debian_packages
python_packages
