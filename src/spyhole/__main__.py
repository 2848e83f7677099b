"""`python -m spyhole`."""

from spyhole.cli import main

main()
