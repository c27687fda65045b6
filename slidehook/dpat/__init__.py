"""Sectra DPAT as a system that slides come from and results go to."""
