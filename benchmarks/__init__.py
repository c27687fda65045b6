"""Measurements: each prints JSON, with ratios within one run, since machines differ and are noisy."""
