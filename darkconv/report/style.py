"""Style every report: light or dark as the reader's system asks, from a phone's width upwards."""

COLORS = """
:root { --ink: #1d2430; --faint: #5d687b; --line: #e3e7ee; --paper: #ffffff; --card: #f5f7fa;
  --kept: #2f6fde; --removed: #e8833a; --cut: #c02626; --good: #19794a; color-scheme: light; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebf0; --faint: #9aa5b6; --line: #2c3442; --paper: #12161d; --card: #1a2029;
    --kept: #6ea0ff; --removed: #f2a266; --cut: #ff7a7a; --good: #5fd39a; color-scheme: dark; } }
"""
TEXT = """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 5rem; max-width: 66rem; background: var(--paper);
  color: var(--ink); font: 15px/1.55 system-ui, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .35rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .8rem; }
h3 { font-size: .95rem; margin: 1.5rem 0 .6rem; }
p { margin: 0 0 .7rem; max-width: 46rem; }
.note, figcaption { color: var(--faint); font-size: .87rem; }
.verdict { margin: 1.25rem 0 0; padding: .7rem 1rem; max-width: none; border-radius: .6rem;
  background: var(--card); border-left: .3rem solid var(--good); font-weight: 600; }
.verdict.wrong { border-color: var(--cut); }
.verdict b { margin-right: .6rem; color: var(--good); } .verdict.wrong b { color: var(--cut); }
.figures { display: grid; gap: .75rem; margin: 1.25rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
.figures div { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }
.figures dt { color: var(--faint); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures dd small { display: block; font-size: .82rem; font-weight: 400; color: var(--faint);
  line-height: 1.4; }
"""
TABLES = """
.scroll { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 0; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .75rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--faint); font-size: .85rem; vertical-align: bottom; }
th.name, td.name { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper);
  padding-left: 0; }
td.name:first-child { max-width: 15rem; white-space: normal; min-width: 6rem; }
thead th:not(.name):first-child { width: 1%; }
tfoot td { font-weight: 600; border-bottom: 0; }
tr.wrong .name ~ .name { color: var(--cut); }
tr.first td { font-weight: 600; background: var(--card); }
.matrix table { width: auto; }
.matrix th { font-weight: 400; padding: 0 .6rem 0 0; border: 0; vertical-align: middle; }
.matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); padding: .4rem 0;
  text-align: left; }
.matrix tbody th { max-width: 11rem; overflow: hidden; text-overflow: ellipsis; }
.matrix td { min-width: 2.1rem; height: 1.9rem; padding: 0 .2rem; text-align: center;
  font-size: .8rem; border: 0; border-right: 1px solid var(--line);
  border-bottom: 1px solid var(--line); position: static;
  background: color-mix(in srgb, var(--kept) calc(var(--share, 0) * 100%), transparent); }
.matrix tbody tr:first-child td { border-top: 1px solid var(--line); }
.matrix tbody td:nth-child(2) { border-left: 1px solid var(--line); }
.matrix thead td { border: 0; } .matrix td.strong { color: var(--paper); }
"""
PICTURES = """
.pictures { display: grid; gap: 1rem; grid-template-columns: 1fr 1fr; }
.pictures h3 { margin: 0; color: var(--faint); }
.gallery { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure img, .gallery svg { width: 100%; border-radius: .5rem; display: block; }
figcaption { margin-top: .3rem; }
.gallery rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.gallery .shade { stroke: #000a; stroke-width: 4; }
.gallery rect.true { stroke: #fff; stroke-dasharray: 4 3; }
.gallery rect.right { stroke: #4f92ff; } .gallery rect.wrong { stroke: #ff8a2a; }
.gallery rect.missed { stroke: #ff4d5e; stroke-dasharray: 6 3; }
.gallery text { fill: #fff; font-size: 13px; font-weight: 600; stroke-width: 3.5px;
  stroke-linejoin: round; paint-order: stroke; }
.gallery text.right { stroke: #1c4fa8; } .gallery text.wrong { stroke: #a84a00; }
.gallery text.missed { stroke: #b01526; }
"""
CHARTS = """
details { border-bottom: 1px solid var(--line); }
summary { padding: .55rem 0; cursor: pointer; }
summary small { color: var(--faint); }
.plots { display: grid; gap: .5rem 1.25rem; padding: .25rem 0 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
.curves { display: grid; gap: 1rem 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
.curves figcaption { margin: 0 0 .2rem; line-height: 1.35; }
.curves figcaption b { color: var(--ink); margin-right: .4rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--faint); font-size: 10px; }
.kept { fill: var(--kept); } .removed { fill: var(--removed); } .wrong { fill: var(--cut); }
.axis { stroke: var(--line); } .cut { stroke: var(--cut); stroke-dasharray: 3 2; }
.area { fill: var(--kept); fill-opacity: .14; }
.curve { fill: none; stroke: var(--kept); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.chart { padding: 1.6rem .25rem 2.6rem 3.6rem; }
.chart svg { height: 15rem; overflow: visible; }
.chart text { font-size: 12px; }
.chart .allowed { stroke: var(--ink); stroke-dasharray: 4 3; }
.chart text.allowed { stroke: var(--paper); stroke-width: 4px; paint-order: stroke;
  fill: var(--ink); stroke-dasharray: none; }
.chart text.cut { stroke: var(--paper); stroke-width: 4px; paint-order: stroke; fill: var(--cut);
  stroke-dasharray: none; }
.key span { display: inline-block; margin-right: 1.1rem; }
.key i { display: inline-block; width: 1rem; height: .75rem; border-radius: .2rem;
  margin-right: .4rem; vertical-align: -1px; }
i.kept { background: var(--kept); } i.removed { background: var(--removed); }
i.cut { background: none; border-left: 2px dashed var(--cut); border-radius: 0; width: .2rem; }
i.right { background: #4f92ff; } i.surplus { background: #ff8a2a; }
i.missed { border: 1.5px dashed #ff4d5e; } i.true { border: 1.5px dashed var(--faint); }
@media (max-width: 30rem) {
  .figures { grid-template-columns: 1fr 1fr; gap: .5rem; } .figures div { padding: .65rem .75rem; }
  .figures div:last-child:nth-child(odd) { grid-column: 1 / -1; }
  table { font-size: .9rem; } th, td { padding: .3rem .4rem; } }
@media print { body { max-width: none; padding: 0; } details { break-inside: avoid; } }
"""
STYLE = COLORS + TEXT + TABLES + PICTURES + CHARTS
