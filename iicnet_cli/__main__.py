"""``python -m iicnet_cli``."""

from iicnet_cli.cli import main

if __name__ == "__main__":
    main()
