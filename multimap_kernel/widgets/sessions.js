// A table of sessions and steps: arrow keys move, Enter or a click opens or starts what the cell stands for.

const THERE = ["done", "stale"];
const MAPS = { what: "maps", when: THERE };
// what stopped a session, or made somebody exclude it, is seen and put right in its alignment
const OPENS = { align: { what: "alignment", when: [...THERE, "failed", "excluded"] }, map: MAPS, publish: MAPS };
const HELP = "Arrow keys and Enter, or the mouse: align opens the alignment, map and publish open the maps.";
const STARTS = new Set(["missing", "stale", "failed"]);
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -Infinity], End: [0, Infinity] };

/** A cell that can hold the keyboard; with `does`, what the kernel is asked for when it is clicked. */
function cell(text, kind, does, title) {
  const known = does ? { "data-does": JSON.stringify(does), title } : {};
  return make("td", { class: `mm-${kind}`, tabindex: "-1", ...known }, text);
}

function row(session, steps) {
  const { session: label, states, told, page } = session;
  const name = make("th", { scope: "row", tabindex: "-1" }, label, ...(told ? [make("small", {}, told)] : []));
  const opens = (what, title) => [{ do: "open", what, session: label }, `open the ${title} of ${label}`];
  const made = states.map((state, k) => {
    const opened = OPENS[steps[k]];
    return opened?.when.includes(state) ? cell(state, state, ...opens(opened.what, opened.what)) : cell(state, state);
  });
  const busy = states.includes("running");
  const starts = !busy && states.some((state) => STARTS.has(state));
  return make("tr", {}, name, ...made,
    page ? cell("open", "page", ...opens("notebook", "executed notebook")) : cell("–", "none"),
    starts ? cell("▶ start", "start", { do: "start", session: label }, `start what is missing of ${label}`) : cell(busy ? "at work" : "–", "none"));
}

function render({ model, el }) {
  const table = make("table", { role: "grid", "aria-label": "sessions and their steps" });
  const told = make("p", { role: "status" });
  const root = make("div", { class: "multimap-widget multimap-sessions", "data-lm-suppress-shortcuts": "true" }, table, told);
  let at = [1, 0]; // row and column where the keyboard is
  let asked = ""; // what the kernel has not answered yet

  const cells = () => [...table.rows].map((line) => [...line.cells]);
  const within = (value, low, count) => Math.min(Math.max(value, low), count - 1);
  function go(line, column, { focus }) {
    const all = cells();
    if (all.length < 2) return;
    all[at[0]]?.[at[1]]?.setAttribute("tabindex", "-1");
    at = [within(line, 1, all.length), within(column, 0, all[0].length)];
    const here = all[at[0]][at[1]];
    here.tabIndex = 0;
    if (focus) here.focus();
  }
  function tell() {
    const fault = asked ? "" : model.get("told");
    told.textContent = asked || fault || HELP;
    told.className = fault ? "mm-fault" : "";
  }
  function act(target) {
    if (!target.dataset.does) return;
    const does = JSON.parse(target.dataset.does);
    asked = does.do === "start" ? `starting ${does.session} …` : `opening the ${does.what} of ${does.session} …`;
    tell();
    model.send(does);
  }
  function draw() {
    const focus = table.contains(document.activeElement);
    const steps = model.get("steps");
    const head = ["session", ...steps, "notebook", "what is missing"].map((name) => make("th", { scope: "col" }, name.replace("_", "_\u200b"))); // may be broken there
    table.replaceChildren(make("tr", {}, ...head), ...model.get("rows").map((session) => row(session, steps)));
    go(...at, { focus });
  }

  table.addEventListener("click", ({ target }) => {
    const clicked = target.closest("td, th");
    const line = cells().findIndex((all) => all.includes(clicked));
    if (line < 1) return;
    go(line, clicked.cellIndex, { focus: true });
    act(clicked);
  });
  table.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (move) go(at[0] + move[0], at[1] + move[1], { focus: true });
    else if (event.key === "Enter" || event.key === " ") act(cells()[at[0]][at[1]]);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has meanings of its own for these keys
  });
  const stopHearing = hear(model, {
    "change:rows": draw,
    "change:told": tell,
    "msg:custom": () => { asked = ""; tell(); },
  });
  el.append(root);
  draw();
  tell();
  return stopHearing;
}

export default { render };
