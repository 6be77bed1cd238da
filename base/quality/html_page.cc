#include "base/quality/html_page.h"

#include "base/quality/html_text.h"

namespace skipstone::quality {
namespace {

constexpr char kStyle[] = R"(
:root { color-scheme: light dark; --back: #fff; --text: #1c2024; --faint: #5f6873; --line: #d9dde2;
  --soft: #f3f5f7; --best: #0b66c3; --bad: #c2410c;
  --other: #8a939e; --third: #0f8a5f; --fourth: #8547c2; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --text: #e6e9ec; --faint: #9aa4af; --line: #333a42; --soft: #1d2226;
    --best: #5aa9f5; --bad: #f59256; --other: #78828d; --third: #45c795; --fourth: #b98aed; }
}
body { margin: 2rem auto; padding: 0 1.25rem; max-width: 84rem; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; padding-top: 1.25rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
h1, h2, p, li, tbody th { overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .75rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th[rowspan], th[scope] { text-align: left; white-space: normal; min-width: 12rem;
  position: sticky; left: 0; background: var(--back); }
@media (max-width: 36rem) {
  th[rowspan], th[scope] { min-width: 7.5rem; }
  th, td { padding: .4rem .5rem; }
}
thead th { vertical-align: bottom; font-weight: 600; background: var(--soft); white-space: normal; }
thead th.kind[colspan] { text-align: left; }
th[rowspan] { background: var(--soft); }
.kind { border-left: 1px solid var(--line); }
tbody th { font-weight: 600; }
small { display: block; color: var(--faint); font-size: 12px; font-weight: 400; }
ul, p { color: var(--faint); max-width: 60rem; }
ul { padding-left: 1.2rem; }
.verdict { color: var(--text); font-size: 1.1rem; border-left: 4px solid var(--best);
  padding-left: .9rem; }
.verdict.alarm { border-color: var(--bad); font-weight: 600; }
.narrow { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
figcaption { padding: .25rem .5rem; font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr));
  gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); }
svg .tick { fill: var(--faint); }
svg .title { font-weight: 600; }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .label { paint-order: stroke; stroke: var(--back); stroke-width: 3px; }
.grid { stroke: var(--line); stroke-width: .6; }
.axis { stroke: var(--faint); }
.leader { stroke: var(--other); stroke-width: .7; }
.interval { stroke: var(--other); stroke-width: 1.5; }
.front { fill: none; stroke: var(--best); stroke-width: 1.5; stroke-dasharray: 5 4; }
.zero { stroke: var(--text); stroke-width: 1.2; stroke-dasharray: 3 3; }
.expected { stroke: var(--text); stroke-width: 2; }
.rest { fill: var(--soft); }
.band { fill: var(--best); opacity: .22; }
.line { fill: none; stroke: var(--best); stroke-width: 2; }
.interval.best { stroke: var(--best); stroke-width: 2; }
.interval.bad { stroke: var(--bad); stroke-width: 2; }
.best, .group1 { fill: var(--best); }
.bad { fill: var(--bad); }
.group0 { fill: var(--other); }
.group2 { fill: var(--third); }
.group3 { fill: var(--fourth); }
.other { fill: var(--back); stroke: var(--other); stroke-width: 2; }
)";

}  // namespace

std::string HtmlPage(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         HtmlText(title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n" + body +
         "</body>\n</html>\n";
}

}  // namespace skipstone::quality
