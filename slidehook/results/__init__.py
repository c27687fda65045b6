"""A Result, whoever shows it: cleaned, cut to a budget, as GeoJSON, as a picture, with its receipt."""
