"""`pila serve`: a page that works offline, its queue, its limits, and an API."""
