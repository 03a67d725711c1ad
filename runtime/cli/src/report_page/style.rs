//! The page's style sheet. Colours differ in lightness too, for those who see no red or green.

pub(super) const CSS: &str = "
:root { color-scheme: light dark; --page: #f4f5f7; --card: #fff; --ink: #1c2430; --soft: #5d6878; --line: #dfe3e8;
  --reused: #7cc4c9; --saver: #2a9d76; --base_local: #3d6fd6; --base_remote: #8560c9; --fallback: #e9a23b;
  --dropped: #c9484f; --right: #2a9d76; --wrong: #e06a55; --unknown: #a3adba; --mark: #1c2430;
  --p50: #2f5fc4; --p90: #7fa3ea; --p99: #c9d8f7; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --ink: #e8ecf1; --soft: #98a4b3;
  --line: #2d3642; --saver: #35b489; --base_local: #5b8cf0; --base_remote: #a283e0; --right: #35b489;
  --unknown: #66717f; --mark: #f5f7fa; --p50: #8fb3ff; --p90: #4a72c4; --p99: #2b4272; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 28px 16px 48px; }
h1 { font-size: 1.6rem; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.02rem; margin: 0 0 12px; }
p { margin: 4px 0 0; color: var(--soft); }
p.health { color: var(--ink); border-left: 4px solid var(--fallback); padding-left: 10px; margin-top: 10px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin: 22px 0 14px; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 14px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; min-width: 0; }
.wide { grid-column: 1 / -1; }
.tile .value { font-size: 1.75rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile .what, .tile .note { font-size: .85rem; color: var(--soft); }
.note { font-size: .85rem; }
.energy-measured { border-left: 6px solid var(--saver); }
.energy-modelled { border-left: 6px dashed var(--fallback); }
svg { display: block; width: 100%; }
svg.bar { height: 34px; border-radius: 6px; }
svg.row { height: 14px; border-radius: 3px; }
svg.plot { height: 180px; border-bottom: 1px solid var(--soft); }
.most { font-size: .78rem; color: var(--soft); border-bottom: 1px dashed var(--line); }
.axis { display: flex; justify-content: space-between; font-size: .78rem; color: var(--soft); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 10px 0 0; padding: 0; font-size: .85rem; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.latencies { display: grid; grid-template-columns: max-content 1fr repeat(3, max-content); gap: 8px 12px; align-items: center;
  font-size: .85rem; }
.figures { text-align: right; font-variant-numeric: tabular-nums; }
.threshold { stroke: var(--mark); stroke-width: 2; stroke-dasharray: 5 4; vector-effect: non-scaling-stroke; }
.swatch.mark { height: 3px; vertical-align: middle; border-radius: 0; background: var(--mark); }
.frames { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th { text-align: left; font-weight: 500; color: var(--soft); }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.source { overflow-wrap: anywhere; min-width: 9em; }
footer { margin-top: 20px; color: var(--soft); font-size: .8rem; }
";

/// Fill and background of everything that has a colour of its own.
const COLOURED: [&str; 12] = [
    "reused",
    "saver",
    "base_local",
    "base_remote",
    "fallback",
    "dropped",
    "right",
    "wrong",
    "unknown",
    "p50",
    "p90",
    "p99",
];

/// The whole style sheet.
pub fn sheet() -> String {
    let colours = COLOURED.map(|name| format!(".{name} {{ fill: var(--{name}); background: var(--{name}); }}\n"));
    CSS.to_owned() + &colours.concat()
}
