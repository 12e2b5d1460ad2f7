"""The server's own jobs: what each does, and when. How jobs are queued, started and ended is `actors.jobs`; work that
has a queue of its own elsewhere (exports, erasures, curation) is shown here beside the jobs, and done there.
"""
