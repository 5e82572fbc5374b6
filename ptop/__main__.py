"""`python -m ptop`."""

import sys

# `python -m` puts the current directory first, where modules may be another user's. The file
# of this package was found already.
if not sys.flags.safe_path:
    del sys.path[0]

from ptop.cli import main

sys.exit(main())
