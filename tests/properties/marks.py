"""Labels and annotations as they meet on a Secret: of users, of other tools and of our own."""

from hypothesis import strategies as st

NAMES = (
    "team",
    "tier",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "argocd.argoproj.io/instance",
    "helm.sh/chart",
    "reloader.example/match",
    "secrets-manager.tuenti.io/copy",
    "secrets-manager.tuenti.io/owner",
    "secrets-manager.tuenti.io/force-sync",
)

texts = st.sampled_from(["", "1", "2", "secrets-manager", "false", "helm.sh/*, reloader.example/match"])
marks: st.SearchStrategy[dict[str, str]] = st.dictionaries(st.sampled_from(NAMES), texts)
