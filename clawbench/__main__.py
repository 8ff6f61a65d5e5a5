"""`python -m clawbench`: the command line where the console script is not on the path."""

from clawbench.cli import main

main()
