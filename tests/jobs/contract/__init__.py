"""What every queue must do, whatever it is made of."""
