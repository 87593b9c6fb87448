"""``python -m pcfrl_lightning`` is ``pcfrl``."""

from pcfrl_lightning.cli.main import main

if __name__ == "__main__":
    main()
