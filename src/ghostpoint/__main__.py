"""``python -m ghostpoint``: the same as the ``ghostpoint`` command."""

from ghostpoint.command.cli import main

if __name__ == "__main__":
    main()
