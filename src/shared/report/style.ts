/** The style of the report, as it stands in the page. */
export const STYLE = `
:root { color-scheme: light; --ink: #1b1f24; --soft: #5b6470; --line: #d8dde3; --good: #1a7f37; --bad: #b42318; --bar: #3b6ea8 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 68rem; margin: 0 auto; padding: 2rem 1.5rem }
header { border-bottom: 2px solid var(--ink); margin-bottom: 1.5rem }
h1 { font-size: 1.7rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem } h3 { font-size: 1rem; margin: 1rem 0 .25rem }
header p { color: var(--soft); margin: .25rem 0 1rem }
code { font-family: ui-monospace, monospace; font-size: .85em; overflow-wrap: anywhere }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem }
.tile { border: 1px solid var(--line); border-left: 4px solid var(--soft); border-radius: 4px; padding: .6rem; break-inside: avoid }
.tile span { display: block; color: var(--soft); font-size: .8rem } .tile strong { font-size: 1.1rem }
.tile.good { border-left-color: var(--good) } .tile.bad { border-left-color: var(--bad) }
.bad strong { color: var(--bad) } p.good strong { color: var(--good) }
table { border-collapse: collapse; width: 100%; font-size: .875rem } table.narrow { width: auto }
th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--ink) }
th, td { padding: .35rem .75rem .35rem 0; vertical-align: top; overflow-wrap: anywhere } td { border-bottom: 1px solid var(--line) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; padding-right: 1.75rem } th.number { white-space: normal }
rect { fill: var(--bar) } svg { display: block; margin-top: .25rem }
.empty { color: var(--soft) }
@page { size: A4; margin: 15mm }
@media print { body { font-size: 10pt; max-width: none; padding: 0 } thead { display: table-header-group } tr { break-inside: avoid } h2 { break-after: avoid } * { print-color-adjust: exact } }
`;
