"""The worker: claims jobs, fetches slides, has them analysed, and publishes the results."""
