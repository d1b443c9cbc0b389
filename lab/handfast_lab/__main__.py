"""`python -m handfast_lab`: the same as `handfast`."""

import sys

from handfast_lab.main import main

sys.exit(main())
