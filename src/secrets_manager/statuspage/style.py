"""The page's style sheet. It is in the page, and the Content-Security-Policy allows it by its hash."""

import base64
from hashlib import sha256

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #dfe3e8; --text: #1c2128; --soft: #57606a; --link: #0a58ca;
  --bad: #b3261e; --bad-tint: #fdecea; --wait: #8a5300; --wait-tint: #fff4e0; --good: #1a6b35; --good-tint: #e8f5ec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1318; --card: #171c23; --line: #2c343e; --text: #e4e8ed; --soft: #9aa5b1; --link: #79b0ff;
    --bad: #ff9a92; --bad-tint: #3b1917; --wait: #f2c063; --wait-tint: #33260c; --good: #7fd79a; --good-tint: #12301c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.25rem; max-width: 90rem; background: var(--page); color: var(--text);
  font: 0.875rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
a:focus-visible, input:focus-visible, button:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.25rem 0.75rem; margin-bottom: 1rem; }
h1 { margin: 0; font-size: 1.25rem; letter-spacing: -0.01em; }
h1 a { color: inherit; }
header p { margin: 0; color: var(--soft); }
header p:last-child { margin-left: auto; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 0.75rem; margin: 0 0 0.75rem;
}
.facts > div {
  padding: 0.625rem 0.875rem; background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem;
}
dt { color: var(--soft); font-size: 0.75rem; }
dd { margin: 0; overflow-wrap: anywhere; }
dd strong { font-weight: 600; }
dd small { display: block; font-size: 0.75rem; color: var(--soft); }
.notice {
  margin: 0 0 0.75rem; padding: 0.625rem 0.875rem; border: 1px solid var(--line); border-left: 4px solid var(--wait);
  border-radius: 0.5rem; background: var(--card); overflow-wrap: anywhere;
}
.notice p { margin: 0; }
.bar {
  display: flex; flex-wrap: wrap; align-items: end; justify-content: space-between; gap: 0.75rem;
  margin: 1.25rem 0 0.75rem;
}
.states { display: flex; flex-wrap: wrap; gap: 0.375rem; margin: 0; padding: 0; list-style: none; }
.states a {
  display: inline-flex; gap: 0.375rem; padding: 0.3125rem 0.75rem; border: 1px solid var(--line); border-radius: 1rem;
  background: var(--card); color: var(--text);
}
.states a[aria-current] { border-color: var(--text); box-shadow: inset 0 0 0 1px var(--text); text-decoration: none; }
.states b { font-variant-numeric: tabular-nums; }
form { display: flex; flex-wrap: wrap; align-items: end; gap: 0.5rem; }
label { font-size: 0.75rem; color: var(--soft); }
input, button {
  display: block; height: 2rem; padding: 0 0.625rem; border: 1px solid var(--line); border-radius: 0.375rem;
  background: var(--card); color: var(--text); font: inherit;
}
input { width: 13rem; margin-top: 0.125rem; font-size: 0.875rem; }
button { cursor: pointer; border-color: var(--soft); }
.clear { padding: 0.375rem 0.25rem; }
.table { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; overflow: hidden; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { padding: 0.5rem 0.875rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-size: 0.75rem; font-weight: 600; border-bottom: 1px solid var(--line); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th { font-weight: 600; }
tbody th a { display: block; font-weight: 400; font-size: 0.75rem; }
td small { display: block; color: var(--soft); font-size: 0.75rem; }
.c-name { width: 16%; }
.c-state { width: 8.5rem; }
.c-secret { width: 12%; }
.c-sources { width: 26%; }
.c-time { width: 8rem; }
.pill {
  display: inline-block; padding: 0.0625rem 0.5rem; border-radius: 1rem; font-weight: 600; font-size: 0.8125rem;
  white-space: nowrap;
}
.failing { color: var(--bad); background: var(--bad-tint); }
.pending { color: var(--wait); background: var(--wait-tint); }
.insync { color: var(--good); background: var(--good-tint); }
.tone-bad { color: var(--bad); } .tone-wait { color: var(--wait); } .tone-good { color: var(--good); }
ul.sources { margin: 0; padding: 0; list-style: none; }
code { font: 0.8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.version { color: var(--soft); font-size: 0.75rem; white-space: nowrap; }
time { white-space: nowrap; }
.none { padding: 2rem; text-align: center; color: var(--soft); }
nav { display: flex; justify-content: space-between; align-items: center; gap: 1rem; margin: 0.875rem 0; }
nav span { color: var(--soft); }
footer { margin-top: 1rem; color: var(--soft); font-size: 0.75rem; }
@media (max-width: 56rem) {
  body { padding: 0.875rem; }
  header p:last-child { margin-left: 0; }
  .facts { grid-template-columns: 1fr 1fr; gap: 0.5rem; }
  form, form > * { width: 100%; }
  input { width: 100%; }
  input, button { height: 2.5rem; font-size: 1rem; }
  .states a { padding: 0.4375rem 0.875rem; }
  .table { background: none; border: 0; border-radius: 0; overflow: visible; }
  table, tbody, tr, th, td { display: block; width: auto; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr {
    padding: 0.625rem 0.875rem; margin-bottom: 0.5rem; background: var(--card); border: 1px solid var(--line);
    border-radius: 0.5rem;
  }
  tbody tr > * { padding: 0.1875rem 0; }
  tbody tr + tr > * { border: 0; }
  tbody th { font-size: 1rem; }
  td[data-label] { display: grid; grid-template-columns: 6rem 1fr; gap: 0.5rem; }
  td[data-label]::before { content: attr(data-label); color: var(--soft); font-size: 0.75rem; line-height: 1.8; }
  td:empty, td.same[data-label] { display: none; }
}
@media print { form, nav { display: none; } }
"""

STYLE_HASH = f"sha256-{base64.b64encode(sha256(STYLE.encode()).digest()).decode()}"
"""As a Content-Security-Policy names it."""
