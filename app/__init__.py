"""The Glassbox program: window, command line and the worker between them and `models`."""
