"""Authentication and authorization of clients: the API server reviews their tokens and rights.

    gate     lets a request pass, or refuses it: 401, 403, 429, 503
    cache    reviews, shared and kept for a short time
    reviews  TokenReview and SubjectAccessReview

It does what controller-runtime's `filters.WithAuthenticationAndAuthorization` does.
"""
