"""What every system does with a Result: clean it, cut it to limits, write it as GeoJSON, draw it."""
