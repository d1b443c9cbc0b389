"""`python -m handfast_lab.kubectl`."""

import os
import sys

from handfast_lab.kubectl.main import main

if __name__ == "__main__":
    try:
        code = main(sys.argv[1:], os.environ, sys.stdin, sys.stdout, sys.stderr)
        sys.stdout.flush()
    except BrokenPipeError:
        # `... | head`: who reads has seen enough, and the interpreter must not flush into the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
