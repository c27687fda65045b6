"""Jobs, and the queue on disk that carries them from the webserver to the workers."""
