"""The loop as a server: frames that arrive over HTTP, models that are fetched."""
