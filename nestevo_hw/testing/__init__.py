"""For people who bring parts of their own: conformance suites, and runs without any computing."""
