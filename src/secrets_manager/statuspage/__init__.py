"""The status page at `/`, and the same as JSON at `/status.json`.

routes     the handlers
collect    a report of what the controller knows, in pieces that hold nothing up
page       the report as HTML
style      the page's style sheet
selection  which definitions are shown, and in which order
report     the report: what the JSON holds
query      the filters and the page of a request
"""
