"""The hands: claims jobs, fetches slides, has them analysed, and publishes what was found."""
