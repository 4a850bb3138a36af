"""The tasks of an evolution window, one function each: files and typed requests in, files and typed results out.

Every path that a task reads or writes stands in its request, so a task can run in any worker on any machine that sees
the run folder, and a finished one need not run again.
"""
