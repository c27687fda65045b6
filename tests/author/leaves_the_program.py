"""A module that ends the program when it is imported, as scripts without a guard do."""

import sys

sys.exit("bye")
