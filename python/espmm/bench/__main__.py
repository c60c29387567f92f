"""`python -m espmm.bench`, the same as `python -m espmm bench`."""

import sys

from . import main

sys.exit(main())
