"""``python -m gumbel``, and the script ``gumbel``."""

import atexit
import gc
import sys


def main() -> None:
    """Run the command line; without the packages that it needs, say how to get them."""
    try:
        from gumbel.commands import main
    except ModuleNotFoundError as error:
        sys.exit(
            f"gumbel: expected the benchmark's environment, found no package {error.name}; run `make install` in a "
            "checkout of the benchmark. The activation and its loss, `import gumbel`, need torch alone"
        )
    # With torch and mmdet loaded, Python would look for garbage for a second before it ends
    atexit.register(gc.freeze)
    main()


if __name__ == "__main__":
    main()
