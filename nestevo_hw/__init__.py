"""Edge-assisted evolution of video models with the teacher on an analog crossbar."""

__version__ = "0.1.0"
