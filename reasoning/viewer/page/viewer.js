"use strict";
// All that models wrote enters by textContent. The state of the page is its hash, so each view has an address.
const $ = id => document.getElementById(id);
const embedded = $("answers") && JSON.parse($("answers").textContent);
const ASKED = ["where", "text", "kind", "sort", "order"], ROW = ["run", "stage", "step", ...ASKED, "first"];
// These change what is shown beside the list, and leave the list as it stands.
const BESIDE = ["row", "problem", "method", "colour", "metric"];
let stages = [], told = "", newest = 0, listed = "", chosen = false;

const state = () => new URLSearchParams(location.hash.slice(1));
function go(changes) {
  const next = state();
  for (const [name, value] of Object.entries(changes)) value === "" || value == null ? next.delete(name) : next.set(name, value);
  location.hash = next;
}
async function get(path, query = {}) {
  const asked = new URLSearchParams(Object.entries({ run: state().get("run"), ...query }).filter(([, value]) => value));
  if (embedded) {
    const key = `${path}?${[...asked].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `${name}=${value}`).join("&")}`;
    if (!(key in embedded)) throw new Error("This file doesn't hold that; the live page does (reasoning view).");
    return embedded[key];
  }
  const own = newest, answer = await (await fetch(`answers/${path}?${asked}`)).json();
  if (own !== newest) throw new Error("overtaken by what was asked since");
  if (answer.error) throw new Error(answer.error);
  return answer;
}
function make(name, given = {}, ...parts) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(given)) if (value != null) key in node ? (node[key] = value) : node.setAttribute(key, value);
  node.append(...parts.filter(part => part != null && part !== ""));
  return node;
}
function draw(name, given, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(given)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}
// Pictures come drawn, by the templates of reports, in which whatever is named is escaped.
const drawn = markup => new DOMParser().parseFromString(markup, "text/html").body.firstElementChild;
const number = value => (value == null ? "–" : Number.isInteger(value) ? `${value}` : value.toPrecision(3)).replace("-", "−");
const pairs = values => Object.entries(values).filter(([, value]) => value != null).map(([name, value]) => `${name} ${number(value)}`).join(" · ");
const options = (select, values, chosen) => {
  select.replaceChildren(...values.map(([value, text]) => make("option", { value, textContent: text })));
  select.value = chosen;
};

function facts(row, whole = true) {
  const brief = text => (whole || text.length <= 60 ? text : `${text.slice(0, 60)}…`);
  const reasons = Object.entries(row.verdicts).map(([name, [verdict, failing, detail]]) => `${name}: ${verdict}${failing == null ? "" : ` at test ${failing}`}${detail ? `, ${brief(detail)}` : ""}`);
  return [`step ${row.step}, group ${row.group} #${row.sample}`, row.reward == null ? "" : `reward ${number(row.reward)}`,
    pairs(row.rewards), row.advantage == null ? "" : `advantage ${number(row.advantage)}`,
    `${row.length} tokens${row.truncated ? ", cut off" : ""}`, ...reasons].filter(Boolean).join(" · ");
}
const sign = row => (row.advantage == null ? "" : row.advantage > 0 ? "↑ " : row.advantage < 0 ? "↓ " : "");

async function showCurve(stage, asked) {
  $("course").hidden = !stage.metrics;
  if (!stage.metrics) return;
  const { series } = await get("metrics", { stage: stage.name });
  const names = Object.keys(series).sort();
  const first = ["reward", "loss"].find(name => name in series) ?? names[0];
  const name = names.includes(asked.get("metric")) ? asked.get("metric") : first;
  options($("metric"), names.map(each => [each, each]), name);
  if (!name) return;
  const { raw, smooth } = series[name], values = raw.map(point => point[1]);
  const [low, high] = [Math.min(...values), Math.max(...values)], [start, end] = [raw[0][0], raw[raw.length - 1][0]];
  const wide = $("chart").clientWidth, left = 56, right = wide - 12;
  const x = step => left + (step - start) / (end - start || 1) * (right - left), y = value => 122 - (value - low) / (high - low || 1) * 112;
  const path = points => "M" + points.map(point => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join("L");
  const svg = draw("svg", { viewBox: `0 0 ${wide} 150`, role: "img", "aria-label": `${name} from ${number(smooth[0][1])} to ${number(smooth[smooth.length - 1][1])} over steps ${start} to ${end}` });
  for (const value of new Set([low, high])) svg.append(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  for (const [step, anchor] of [[start, "start"], [end, "end"]]) svg.append(draw("text", { x: x(step), y: 148, "text-anchor": anchor }, `step ${step}`));
  for (const step of stage.steps) svg.append(draw("line", { x1: x(step), x2: x(step), y1: 126, y2: String(step) === asked.get("step") ? 8 : 134, class: String(step) === asked.get("step") ? "kept now" : "kept" }));
  svg.append(draw("path", { d: path(raw), class: "raw" }), draw("path", { d: path(smooth), class: "smooth" }));
  svg.addEventListener("click", event => {
    const at = start + ((event.clientX - svg.getBoundingClientRect().left) / svg.clientWidth * wide - left) / (right - left) * (end - start);
    const near = stage.steps.reduce((best, step) => (Math.abs(step - at) < Math.abs(best - at) ? step : best), stage.steps[0]);
    if (near != null) go({ step: near, first: "", row: "" });
  });
  $("chart").replaceChildren(svg);
  $("step").textContent = stage.steps.length ? "marks are steps whose rollouts were kept: click, or choose one below" : "";
}

function showFilter(stage, asked, names) {
  $("filter").hidden = Boolean(embedded) && !stage.steps.length;
  $("steps").parentElement.hidden = !stage.steps.length;
  options($("steps"), [...(embedded ? [] : [["all", "all"]]), ...stage.steps.map(step => [step, step])], asked.get("step"));
  options($("sort"), [["", "as they came"], ...names.map(name => [name, name])], asked.get("sort") ?? "");
  for (const name of ["where", "text", "kind"]) if (document.activeElement !== $(name)) $(name).value = asked.get(name) ?? "";
  $("order").value = asked.get("order") ?? "lowest";
  const [one, other] = names.slice(names.indexOf("reward") + 1).filter(name => name !== "spread"); // Of rollouts the rewards that make it up.
  $("where").placeholder = other ? `${one}>=1, ${other}<1` : one ? `${one}>=1` : "";
  for (const node of $("filter").querySelectorAll("#where, #text, #kind, #sort, #order, button, #save")) (node.closest("label") ?? node).hidden = Boolean(embedded);
  for (const id of Object.keys(SHORTCUTS)) $(id).hidden = Boolean(embedded) || !stage.steps.length;
  $("save").href = `selection.jsonl?${new URLSearchParams([...asked].filter(([name]) => ROW.includes(name) && name !== "first"))}`;
}

function paged(total, page, asked, word) {
  const first = Number(asked.get("first") ?? 0), parts = [`${total} ${word}${total > page ? `, ${first + 1} to ${Math.min(first + page, total)} ` : ""}`];
  const link = (text, at) => make("button", { type: "button", textContent: text, onclick: () => go({ first: at || "" }) });
  if (!embedded && first > 0) parts.push(link("previous", Math.max(0, first - page)));
  if (!embedded && first + page < total) parts.push(link("next", first + page));
  if (ASKED.some(name => asked.has(name))) parts.push(make("button", { type: "button", textContent: "all of them, as they came", onclick: () => go(Object.fromEntries([...ASKED, "first"].map(name => [name, ""]))) }));
  $("count").replaceChildren(...parts);
}

async function showRows(stage, asked) {
  const found = await get("rows", Object.fromEntries([...asked].filter(([name]) => ROW.includes(name))));
  showFilter(stage, asked, found.names);
  paged(found.total, found.page, asked, "rollouts");
  let group = null;
  $("list").replaceChildren(...found.rows.flatMap(row => {
    const key = `${row.step} ${row.group}`, head = key === group ? [] : [make("h2", {}, make("span", { className: "said", textContent: row.prompt }), make("small", { textContent: `answer: ${row.answer} · ${row.kind}` }))];
    group = key;
    return [...head, make("button", { type: "button", className: "item", "aria-current": String(row.row) === asked.get("row") ? "true" : null, onclick: () => { chosen = true; go({ row: row.row }); } },
      make("small", { textContent: sign(row) + facts(row, false) }), make("span", { className: "said", textContent: row.completion || "(nothing)" }))];
  }));
  kinds(found.rows);
  if (asked.has("row")) await showRow(asked);
  else invite("Choose a reply to see its tokens, and what each reward gave it.");
}
const kinds = rows => $("kinds").replaceChildren(...[...new Set(rows.map(row => row.kind))].map(value => make("option", { value })));
const invite = text => $("list").childElementCount && $("one").replaceChildren(make("p", { className: "soft", textContent: text }));
// What was chosen stands above the list on a narrow page, and may be out of sight.
function reveal() {
  if (matchMedia("(max-width: 899px)").matches && chosen) $("one").scrollIntoView();
  chosen = false;
}

// What a token may be coloured by: its value, the value from which the shade is full, and what warm and cold mean.
const SHADES = {
  "log-probability": [token => -token.log_prob, 3, "warm: the sampler held it unlikely (full at e⁻³)"],
  entropy: [token => token.entropy, 2, "warm: the trainer was undecided here (full at 2 nats)"],
  mismatch: [token => token.mismatch, 0.1, "warm: the trainer gives more than the sampler did, cold: less (full at 0.1 nats)"],
  advantage: [(token, row) => row.advantage, 2, "warm: made likelier, cold: less likely (full at 2)"],
};
function shaded(value, full) {
  const depth = Math.min(4, Math.round(Math.abs(value ?? 0) / full * 4));
  return depth ? `${value > 0 ? "h" : "k"}${depth}` : "";
}

// Tokens with their numbers, which a pointer, a finger and the keyboard all ask for.
function walked(row, shade, text, pointed) {
  const told = { "log-probability": "log_prob", "trainer − sampler": "mismatch", entropy: "entropy" };
  const numbers = row.tokens.map(token => pairs(Object.fromEntries(Object.entries(told).map(([name, field]) => [name, token[field]]))));
  const spans = row.tokens.map((token, at) => make("span", { className: `token ${shade(token)}`, textContent: token.text, title: numbers[at] }));
  let at = -1;
  const point = next => {
    spans[at]?.removeAttribute("aria-current");
    at = Math.max(0, Math.min(spans.length - 1, next));
    spans[at].setAttribute("aria-current", "true");
    pointed.textContent = `token ${at + 1} of ${spans.length}, ${JSON.stringify(row.tokens[at].text)}: ${numbers[at]}`;
  };
  text.append(row.opening ? make("span", { className: "soft", textContent: row.opening }) : "", ...spans);
  text.addEventListener("click", event => spans.includes(event.target) && point(spans.indexOf(event.target)));
  text.addEventListener("keydown", event => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (way) point(at + way);
  });
}

async function showRow(asked) {
  const row = await get("row", { stage: asked.get("stage"), step: asked.get("step"), row: asked.get("row") });
  const ways = Object.keys(SHADES).filter(name => row.tokens?.some(token => SHADES[name][0](token, row) != null));
  const way = ways.includes(asked.get("colour")) ? asked.get("colour") : "log-probability", [value, full, meaning] = SHADES[way];
  const choice = make("select", { ariaLabel: "Tokens coloured by", onchange: () => go({ colour: choice.value }) });
  options(choice, ways.map(name => [name, name]), way);
  const text = make("span", { className: "said", id: "tokens", role: "group", tabIndex: 0, ariaLabel: "Tokens" }), pointed = make("output", { id: "token", textContent: "A token's numbers: touch it, or walk with the arrow keys." });
  if (row.tokens) walked(row, token => shaded(value(token, row), full), text, pointed); else text.textContent = row.completion || "(nothing)";
  $("one").replaceChildren(
    make("h2", {}, make("span", { className: "said", textContent: row.prompt })), make("p", { className: "soft", textContent: `answer: ${row.answer} · ${row.kind}` }),
    make("p", { textContent: facts(row) + (row.log_prob == null ? "" : ` · log-probability ${number(row.log_prob)}`) }),
    row.tokens ? make("p", {}, make("label", {}, "Tokens coloured by ", choice), " ", make("small", { textContent: meaning })) : make("p", { className: "soft", textContent: "Tokens can't be told apart: the text, read again, has another number of them than was drawn." }),
    text, row.tokens ? make("p", {}, pointed) : "",
    embedded ? "" : make("p", {}, make("button", { type: "button", textContent: "this group", onclick: () => go({ step: row.step, where: `group=${row.group}`, row: "", first: "", sort: "reward", text: "", kind: "" }) }), " ",
      make("button", { type: "button", textContent: "this question at all steps", onclick: () => go({ step: "all", text: row.prompt, where: "", row: "", first: "", sort: "step" }) })));
}

async function showProblems(stage, asked) {
  const found = await get("problems", Object.fromEntries([...asked].filter(([name]) => ROW.includes(name) && name !== "step")));
  showFilter(stage, asked, found.names);
  paged(found.total, found.page, asked, "problems");
  $("list").replaceChildren(...found.problems.map(each => make("button", { type: "button", className: "item", "aria-current": String(each.number) === asked.get("problem") ? "true" : null, onclick: () => { chosen = true; go({ problem: each.number }); } },
    make("span", { className: "said", textContent: each.question }), make("small", { textContent: `#${each.number} · answer: ${each.answer} · ${each.kind}` }), make("p", {}, make("small", { textContent: pairs(each.means) })))));
  kinds(found.problems);
  if (asked.has("problem")) await showProblem(asked);
  else invite("Choose a problem to see what every checkpoint replied.");
}

// The words of a text that stand in no longest common subsequence with the first checkpoint's are marked.
function marked(words, base) {
  const wide = base.length + 1, table = new Uint16Array((words.length + 1) * wide);
  for (let i = words.length - 1; i >= 0; i--) for (let j = base.length - 1; j >= 0; j--)
    table[i * wide + j] = words[i] === base[j] ? table[(i + 1) * wide + j + 1] + 1 : Math.max(table[(i + 1) * wide + j], table[i * wide + j + 1]);
  const parts = [];
  for (let i = 0, j = 0; i < words.length; i++) {
    while (j < base.length && words[i] !== base[j] && table[i * wide + j + 1] >= table[(i + 1) * wide + j]) j++;
    if (j < base.length && words[i] === base[j]) { parts.push(words[i]); j++; } else parts.push(make("mark", { textContent: words[i] }));
  }
  return parts;
}
const split = text => text.slice(0, 4000).match(/\s+|\w+|[^\w\s]/gu) ?? [];

async function showProblem(asked) {
  const { rows } = await get("problem", { stage: asked.get("stage"), problem: asked.get("problem") });
  const methods = [...new Set(rows.map(row => [row.method, row.style].filter(Boolean).join(", ")))];
  const method = methods.includes(asked.get("method")) ? asked.get("method") : methods[0], chosen = rows.filter(row => [row.method, row.style].filter(Boolean).join(", ") === method);
  const choice = make("select", { ariaLabel: "Asked by", onchange: () => go({ method: choice.value }) });
  options(choice, methods.map(each => [each, each]), method);
  const base = split(chosen[0]?.texts[0] ?? "");
  const sides = chosen.map((row, place) => {
    const first = Object.values(row.scores)[0]?.[0], score = at => pairs(Object.fromEntries(Object.entries(row.scores).map(([name, values]) => [name, values[at]])));
    const shown = row.texts.slice(0, 4).flatMap((text, at) => [make("small", { textContent: `${row.kept.length ? (row.kept[at] ? "kept · " : "dropped · ") : ""}${score(at)} · ${row.lengths[at]} tokens` }),
      make("span", { className: "said" }, ...(place && at === 0 && text ? marked(split(text), base) : [text || "(nothing)"]))]);
    return make("div", { className: `reply ${first == null ? "" : first >= 1 ? "right" : "wrong"}` }, make("h2", { textContent: row.checkpoint }), ...shown, row.replies > 4 ? make("small", { textContent: `and ${row.replies - 4} more replies` }) : "");
  });
  $("one").replaceChildren(make("h2", {}, make("span", { className: "said", textContent: rows[0].question })), make("p", { className: "soft", textContent: `answer: ${rows[0].answer} · ${rows[0].kind}${chosen.length > 1 ? "; marked: other than in the first" : ""}` }),
    make("p", {}, make("label", {}, "Asked by ", choice)), make("div", { className: "sides" }, ...sides));
}

function showOverview(answer, asked) {
  told = JSON.stringify(answer); stages = [{ finished: answer.runs.every(run => run.state === "finished") }]; listed = "";
  for (const id of ["course", "filter", "views", "count", "trouble"]) $(id).hidden = true;
  $("stages").replaceChildren();
  document.title = $("run").textContent = answer.sweep ? `Sweep ${answer.name}` : `Runs in ${answer.name}`;
  const score = answer.scores.find(each => each.name === asked.get("score")) ?? answer.scores[0];
  const choice = make("select", { onchange: () => go({ score: choice.value }) });
  options(choice, answer.scores.map(each => [each.name, each.name]), score?.name);
  const link = run => make("a", { href: `#${new URLSearchParams({ run: run.run })}` }, answer.sweep ? `seed ${run.seed}` : run.run);
  const tell = run => [link(run), " ", make("small", { textContent: [score && score.name in (run.values ?? {}) ? number(run.values[score.name]) : "", run.state === "finished" ? "" : run.state, run.verdict].filter(Boolean).join(" · ") })];
  const arms = [...new Set(answer.runs.map(run => run.arm))];
  $("overview").replaceChildren(...(score ? [make("p", { className: "verdict" }, make("label", {}, "Score ", choice), ` ${score.verdict}.`),
    make("div", { className: "pictures" }, ...score.pictures.map(drawn))] : []),
  make("p", {}, answer.runs.length < answer.total ? `${answer.runs.length} of ${answer.total} runs; open one to see its rollouts:` : "Open a run to see its rollouts:"),
  ...(answer.sweep ? arms.map(arm => make("div", {}, make("h2", { textContent: arm }), make("ul", { className: "seeds" }, ...answer.runs.filter(run => run.arm === arm).map(run => make("li", {}, ...tell(run))))))
    : [make("ul", { className: "listed" }, ...answer.runs.map(run => make("li", {}, ...tell(run))))]));
  $("overview").hidden = false;
}

async function show() {
  const own = ++newest;
  document.body.setAttribute("aria-busy", "true"); // An exam of many replies takes a moment to be read.
  try {
    const asked = state(), among = embedded ? { runs: [] } : await get("overview");
    if (own !== newest) return;
    $("back").hidden = !(among.runs.length && asked.has("run"));
    if (among.runs.length && !asked.has("run")) return showOverview(among, asked);
    $("overview").hidden = true;
    const answer = await get("stages");
    if (own !== newest) return;
    told = JSON.stringify(answer); stages = answer.stages; document.title = $("run").textContent = `Rollouts of ${answer.run}`;
    const shown = stages.filter(each => each.steps.length || each.samples || each.metrics);
    const stage = shown.find(each => each.name === asked.get("stage")) ?? shown.find(each => each.steps.length) ?? shown[0];
    $("stages").replaceChildren(...shown.map(each => make("a", { href: `#${new URLSearchParams({ ...(asked.has("run") ? { run: asked.get("run") } : {}), stage: each.name })}`, ...(each === stage ? { "aria-current": "page" } : {}), title: each.kind }, each.name + (each.finished ? "" : " …"))));
    const current = $("stages").querySelector("[aria-current]");
    if (current) $("stages").scrollLeft = current.offsetLeft - $("stages").offsetLeft - 40;
    $("trouble").hidden = true;
    if (!stage) throw new Error("There is nothing to look at yet.");
    asked.set("stage", stage.name);
    if (stage.steps.length && !asked.get("step")) asked.set("step", stage.steps[stage.steps.length - 1]);
    // The list keeps its place, and the keyboard's, while only what stands beside it changes.
    const page = `${new URLSearchParams([...asked].filter(([name]) => !BESIDE.includes(name)))}`, held = $("list").contains(document.activeElement);
    if (page !== listed) for (const id of ["list", "one", "count"]) $(id).replaceChildren();
    listed = page;
    for (const id of ["views", "count"]) $(id).hidden = false;
    await showCurve(stage, asked);
    if (!stage.steps.length && !stage.samples) $("filter").hidden = true;
    else if ($("filter").hidden) showFilter(stage, asked, []); // To mend a question that has no answer.
    if (stage.steps.length) await showRows(stage, asked);
    else if (stage.samples) await showProblems(stage, asked);
    if (held) $("list").querySelector("[aria-current]")?.focus({ preventScroll: true });
    if (asked.has("row") || asked.has("problem")) reveal();
  } catch (error) {
    if (own !== newest) return;
    $("trouble").textContent = error.message; $("trouble").hidden = false;
  } finally {
    if (own === newest) document.body.removeAttribute("aria-busy");
  }
}

$("filter").addEventListener("submit", event => {
  event.preventDefault();
  go({ step: $("steps").value, where: $("where").value, text: $("text").value, kind: $("kind").value, sort: $("sort").value, order: $("sort").value ? $("order").value : "", first: "", row: "" });
});
$("steps").addEventListener("change", () => go({ step: $("steps").value, first: "", row: "" }));
$("metric").addEventListener("change", () => go({ metric: $("metric").value }));
const SHORTCUTS = { worst: { sort: "reward", order: "lowest" }, best: { sort: "reward", order: "highest" }, cut: { where: "truncated=1" } };
for (const [id, wanted] of Object.entries(SHORTCUTS)) $(id).addEventListener("click", () => go({ ...wanted, first: "", row: "" }));
window.addEventListener("hashchange", show);
if (!embedded) setInterval(async () => {
  if (stages.every(stage => stage.finished) || document.hidden || $("filter").contains(document.activeElement)) return;
  const now = await get(listed ? "stages" : "overview").catch(() => null);
  if (now && JSON.stringify(now) !== told) show();
}, 5000);
show();
