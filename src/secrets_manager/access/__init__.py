"""Who may get what is served: the API server authenticates a token, and authorizes its user.

    gate     what a request gets: 401, 403, 429, 503, or what it asked for
    cache    reviews, shared and kept for a short time
    reviews  TokenReview and SubjectAccessReview

It does what controller-runtime's `filters.WithAuthenticationAndAuthorization` does.
"""
