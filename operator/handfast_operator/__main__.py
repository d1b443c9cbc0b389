"""`python -m handfast_operator VERB`."""

import sys

from handfast_operator.main import main

sys.exit(main())
