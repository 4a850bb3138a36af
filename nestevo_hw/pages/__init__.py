"""What every page and picture shares: shell, palette, formats, tables."""
