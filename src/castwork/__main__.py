"""`python -m castwork`: the command line."""

from castwork.cli.main import main

if __name__ == "__main__":
    main()
