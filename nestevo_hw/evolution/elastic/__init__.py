"""Supernets from pre-trained models: made, trained, scored and written for terminals."""
