"""`python -m secrets_manager` is the command `secrets-manager`."""

import sys

from secrets_manager.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
