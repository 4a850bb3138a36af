"""The NestEvo paper's tables and figures, one after another, beside what comes out here."""
