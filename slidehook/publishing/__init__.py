"""What stands on a slide: records made of results, the one that is updated in place, users' changes, and GeoJSON."""
