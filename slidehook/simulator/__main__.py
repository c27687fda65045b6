"""Runs the simulator: `slidehook simulator --help`."""

from slidehook.simulator.cli import main

if __name__ == "__main__":
    main(prog_name="slidehook simulator")
