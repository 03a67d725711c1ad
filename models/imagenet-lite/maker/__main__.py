"""Lets both `python -m maker` and `python path/to/maker` start the maker."""

import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from maker.command import main

sys.exit(main())
