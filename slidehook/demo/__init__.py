"""The conductor of demo_run.sh: starts every part for real and plays an administrator, a scanner and a user."""
