"""The embedded streams: street scenes rendered from a seed."""
