"""The routing panel."""
