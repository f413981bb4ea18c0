"""``python -m gumbel``."""

import atexit
import gc

from gumbel.commands import main

# With torch and mmdet loaded, Python would look for garbage for a second before it ends
atexit.register(gc.freeze)
main()
