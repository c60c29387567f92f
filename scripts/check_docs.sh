#!/usr/bin/env bash
# Fails if the generated pages of the documentation are not what the .td files say; prints the difference.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

FRESH="$(mktemp -d)"
trap 'rm -rf "$FRESH"' EXIT
bash "$ROOT/scripts/update_docs.sh" "$FRESH"

status=0
while IFS= read -r page; do
  diff -u "$ROOT/docs/$page" "$FRESH/$page" || status=1
done < <(cd "$FRESH" && find . -name '*.md' | sort)
[ "$status" -eq 0 ] || fail "the generated documentation has drifted from the .td files; run scripts/update_docs.sh and commit docs/"
say "the generated documentation is as the .td files say"
