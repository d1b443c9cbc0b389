"""`python -m handfast_sidecar VERB`: the same as `handfast-sidecar`."""

import sys

from handfast_sidecar.main import main

sys.exit(main())
