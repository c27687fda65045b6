"""What stands on a slide: records made of results, the one that is updated in place, and users' changes to it."""
