#!/usr/bin/env bash
# Runs the tests of test/clients in the environments that scripts/clients.sh makes: models of MACE, NequIP and SevenNet as they are
# against accelerated ones. The last line is 'N passed, N failed, N skipped'.
#
#   test_clients.sh [NAME...]    only these clients; arguments from the first that begins with - on go to pytest
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

CLIENTS="${CLIENTS:-$ROOT/.clients}"
REPORTS="$BUILD_DIR/test-reports/clients"
export PYTHONPATH="$ROOT/python${PYTHONPATH:+:$PYTHONPATH}"

names=()
while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do
  names+=("$1")
  shift
done
[ "${#names[@]}" -gt 0 ] || names=(sevenn mace nequip)

tests() {
  local name="$1"
  shift
  "$CLIENTS/$name/bin/python" -m pytest -q --timeout=600 -W ignore -p no:cacheprovider --durations=5 --junit-xml "$REPORTS/$name.xml" test/clients "$@"
}

rm -rf "$REPORTS"
mkdir -p "$REPORTS"
reports=()
for name in "${names[@]}"; do
  attempt "Tests of $name's models" tests "$name" "$@"
  reports+=("$REPORTS/$name.xml")
done
"$CLIENTS/${names[0]}/bin/python" scripts/test_summary.py "${reports[@]}"
[ "$failures" -eq 0 ] || fail "a test runner failed although every test in its report passed"
