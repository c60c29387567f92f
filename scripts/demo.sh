#!/usr/bin/env bash
# Runs the demo; arguments go to examples/carbon_forces.py (--help lists them).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

use_checkout
step "Running examples/carbon_forces.py (on two CPU cores: a few minutes, most of them e3nn's)" \
  python examples/carbon_forces.py "$@"
