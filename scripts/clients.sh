#!/usr/bin/env bash
# Makes an environment for each program that uses espmm, in .clients/: mace, nequip, sevenn, from PyPI, on Python 3.11.
# torch comes first, and what comes after may not change it. Nothing is installed where an environment is as this script says.
# They find espmm in this repository, once `make build` has built its library.
#
#   clients.sh [NAME...]         only these
#   PYTHON311=/path/to/python    CPython 3.11 (default: python3.11)
#   PIP_FIND_LINKS=FOLDER        where pip looks besides, for torch's build for the CPU say
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

CLIENTS="${CLIENTS:-$ROOT/.clients}"
PYTHON311="${PYTHON311:-python3.11}"
TORCH="torch==2.13.0"
TOOLS="ase==3.29.0 pytest==9.2.0 pytest-timeout==2.4.0 tqdm matplotlib"
declare -A REQUIREMENTS=(
  [mace]="mace-torch==0.3.16 e3nn==0.4.4"
  [nequip]="nequip==0.19.1 e3nn==0.6.0"
  [sevenn]="sevenn==0.13.0 e3nn==0.6.0"
)

"$PYTHON311" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
  fail "expected CPython 3.11 with venv and ensurepip, got $PYTHON311 (PYTHON311=/path/to/python names another)"

install() {
  local folder="$1" pip=("$1/bin/python" -m pip install -q --disable-pip-version-check --no-input --progress-bar off)
  shift
  rm -rf "$folder"
  "$PYTHON311" -m venv "$folder"
  "${pip[@]}" "$TORCH"
  # The exact build, such as 2.13.0+cpu, so that nothing brings another.
  "${pip[@]}" -c <("$folder/bin/python" -m pip freeze | grep -i '^torch==') "$TORCH" "$@"
}

names=("$@")
[ "${#names[@]}" -gt 0 ] || names=(mace nequip sevenn)
for name in "${names[@]}"; do
  wanted="${REQUIREMENTS[$name]:-}"
  [ -n "$wanted" ] || fail "unknown client $name, expected some of ${!REQUIREMENTS[*]}"
  stamp="$CLIENTS/$name/.installed"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$TORCH $wanted $TOOLS" ]; then
    skip "Client $name" "$CLIENTS/$name has $TORCH $wanted"
  else
    # shellcheck disable=SC2086  # words are requirements
    step "Installing $wanted on $TORCH into $CLIENTS/$name (1 to 2 minutes)" install "$CLIENTS/$name" $wanted $TOOLS
    printf '%s\n' "$TORCH $wanted $TOOLS" > "$stamp"
  fi
  # espmm is this checkout's, as built.
  printf '%s\n' "$ROOT/python" > "$("$CLIENTS/$name/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/espmm.pth"
done
