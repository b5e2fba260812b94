"""``python -m mfv_dsl`` is the same as ``mfv``."""

from mfv_dsl.cli import main

if __name__ == "__main__":
    main()
