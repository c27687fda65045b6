"""A stand-in for Sectra DPAT: the other side of slidehook, for demos, tests and app authors."""
