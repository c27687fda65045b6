"""The demo behind demo_run.sh: it starts all parts and acts as an administrator, a scanner and a user."""
