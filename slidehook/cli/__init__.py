"""The command `slidehook`."""
