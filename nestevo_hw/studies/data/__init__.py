"""Labelled data of the user's own: what models are calibrated and scored on, in every study alike."""
