"""`python -m megavid`: the `megavid` command."""

from megavid.cli import console

console()
