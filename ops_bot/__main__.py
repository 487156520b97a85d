"""`python -m ops_bot` is `ops-bot`."""

import sys

from ops_bot.cli import main

sys.exit(main())
