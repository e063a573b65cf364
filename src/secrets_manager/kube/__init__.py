"""A controller runtime on Trio: what client-go and controller-runtime are to a controller in Go.

The program uses these modules; the others serve them.

    client          requests to the API server; restclient sends them
    credentials     which API server, and who we are there; restconfig has both
    authorization   what we may do there
    discovery       what it serves
    errors          what a request raises
    objects         Kubernetes types
    resources       kinds, their paths and decoders
    pager           lists in pages
    reflector       keeps a store equal to a namespace; watcher has its states
    store           a cache with indexes
    workqueue       names to be reconciled, with delays, rate limits and priorities
    lease           leader election
    events          records Events
    status          what an error response means
"""
