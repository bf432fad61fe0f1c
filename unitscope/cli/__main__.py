"""``python -m unitscope.cli``: the command where no script is installed."""

from unitscope.cli import main

if __name__ == "__main__":
    main()
