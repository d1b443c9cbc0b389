"""`python -m handfast_operator.cli`: the command line where its script is not on the path."""

import sys

from handfast_operator.cli.main import main

sys.exit(main())
