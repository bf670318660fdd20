"""What crosses between window, command line and worker: jobs, events, payloads, errors.

Standard library and numpy only, and everything here pickles, so that the worker can become a process.
"""
