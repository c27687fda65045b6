"""Jobs, and the queue that passes them from the webserver to the workers."""
