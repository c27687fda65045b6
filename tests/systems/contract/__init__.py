"""What every system promises, tried on all of them."""
