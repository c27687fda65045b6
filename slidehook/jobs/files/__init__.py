"""The queue in files: on a local disk, or on a share for several hosts."""
