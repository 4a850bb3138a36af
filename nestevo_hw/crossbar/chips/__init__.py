"""What a mapped model costs on published chips: time, energy, area, wear."""
