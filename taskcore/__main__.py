"""`python -m taskcore FILE …`"""

import sys

from taskcore.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
