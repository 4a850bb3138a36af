"""Methods side by side: same seeds, same frames, same budget of optimiser steps."""
