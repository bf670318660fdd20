"""What stands behind the runners of `app.runners.models`: sources, downloads in processes of their own, digests, what is remembered.

Read next: `sources` (what can be fetched), `files` (never half a file under its final name), `pip_fetch` and `hub` (the two ways in),
`shelf` and `rows` (what the program remembers and shows).
"""
