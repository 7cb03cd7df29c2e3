"""`python -m smartmob`."""

from smartmob.cli.main import main

if __name__ == "__main__":
    main()
