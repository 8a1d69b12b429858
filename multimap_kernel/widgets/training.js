// The training widget: a form, a run at work, and its charts; mouse and keyboard do the same things.

const CHARTS = { scores: drawScores, regions: drawRegions, retrieval: drawRetrieval, lags: drawLags, embedding: drawEmbedding, losses: drawLosses, split: drawSplit };
const WORDS = { new: "no run yet", running: "learning", stopping: "ending at its next step", stopped: "stopped", failed: "failed", done: "done" };
const TRAITS = ["choices", "runs", "run", "state", "plan", "progress", "folds", "judged"];
const KEYHELP = [
  ["x", "stop with a checkpoint"], ["← →", "pick a region"], ["↑ ↓", "show another fold"], ["c", "colour by condition or run"],
];
const KEYHELP_CHOICES = [
  ["s", "start a new run with what is chosen"], ["r", "resume the run that is shown"], ["e", "choose sessions, split, lags, size"], ["n p", "show the next or the run before"], ["Esc", "leave a field"],
];

const duration = (seconds) => {
  if (!Number.isFinite(seconds)) return "";
  const minutes = Math.floor(seconds / 60);
  return minutes >= 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : minutes ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.round(seconds)} s`;
};

function headline(view) {
  const so = view.folds.at(-1)?.so_far;
  if (!so) return [make("em", {}, "The gain over the ridge appears with the first fold.")];
  const sure = view.judged.gain_interval ? view.judged : so;
  const [low, high] = sure.gain_interval;
  const r = (name, colour, value) => make("span", { style: `color: var(--mm-${colour})` }, `${name} r ${number(value)}`);
  return [
    make("span", { class: "mm-gain" }, `gain ${signed(sure.gain)}`),
    make("span", {}, Number.isFinite(low) ? `mean of pieces, 95 % from ${signed(low)} to ${signed(high)}` : "one piece: no interval"),
    r("joint", "joint", so.joint), r("ridge", "ridge", so.ridge),
    make("em", {}, `over ${so.volumes} volumes, null 95 % ${number(so.null_band[0])} to ${number(so.null_band[2])}, ${so.null_members} members`),
  ];
}

function render({ model, el }) {
  const root = makePanel("training", "training");
  const view = { fold: 0, region: -1, colour: "condition", follow: true };
  for (const name of TRAITS) view[name] = model.get(name);
  let asked = 0;
  const ask = (message) => { asked += 1; model.send({ ...message, number: asked }); status.textContent = "asking the kernel …"; };
  const start = () => ask({ kind: "start", options: form.read() });
  const button = (key, name, act, kind = "") => make("button", { type: "button", class: kind, "data-act": name.toLowerCase(), onclick: act }, name, " ", make("kbd", {}, key));
  const buttons = { start: button("s", "Start", start, "mm-save"), stop: button("x", "Stop", () => ask({ kind: "stop" })), resume: button("r", "Resume", () => ask({ kind: "resume" })) };
  const runs = make("select", { name: "run", "aria-label": "run", onchange: () => ask({ kind: "attach", options: { run: runs.value } }) });
  const state = make("span", { class: "mm-state" });
  const bar = make("progress", { max: 1 });
  const eta = make("em");
  const gain = make("div", { class: "mm-headline" });
  const status = make("div", { class: "mm-status", role: "status" });
  const fault = make("div", { class: "mm-fault", role: "alert" });
  const form = makeForm(view.choices, start);
  if (!form.form) buttons.start.hidden = buttons.resume.hidden = true;
  const canvases = Object.fromEntries(Object.keys(CHARTS).map((name) => [name, make("canvas", { class: `mm-${name}${name === "split" ? " mm-wide" : ""}`, role: "img" })]));

  const { draw, stopPainting } = makePainter(root, () => {
    const style = getComputedStyle(root);
    view.theme = { ...themeOf(root), ...Object.fromEntries(["joint", "ridge", "null"].map((name) => [name, style.getPropertyValue(`--mm-${name}`).trim()])) };
    for (const [name, chart] of Object.entries(CHARTS)) canvases[name].setAttribute("aria-label", `${name}: ${chart(canvases[name], view) || "nothing yet"}`);
  });

  function refresh() {
    for (const name of TRAITS) view[name] = model.get(name);
    const now = view.state.state ?? "new";
    if (view.follow) view.fold = Math.max(0, view.folds.length - 1);
    state.textContent = WORDS[now];
    state.dataset.state = now;
    root.dataset.state = now;
    root.dataset.folds = String(view.folds.length);
    root.dataset.run = view.run;
    bar.value = now === "done" ? 1 : view.progress.part ?? 0;
    bar.hidden = now === "new";
    eta.textContent = now === "running" ? (Number.isFinite(view.progress.eta_s) ? `${duration(view.progress.eta_s)} left` : "reading features") : "";
    if (runs.options.length !== view.runs.length) runs.replaceChildren(...view.runs.map((name) => make("option", { value: name }, name))); // else one who chooses would be disturbed
    runs.value = view.run;
    runs.hidden = !view.runs.length;
    buttons.start.disabled = ["running", "stopping"].includes(now);
    buttons.stop.disabled = now !== "running";
    buttons.resume.disabled = !["stopped", "failed"].includes(now);
    gain.replaceChildren(...headline(view));
    fault.textContent = now === "failed" ? `The run ended before it was done. Its last words:\n${view.state.words}` : "";
    draw();
  }
  function region(step) {
    const so = view.folds.at(-1)?.so_far;
    if (!so) return;
    view.region = clamp(view.region + step, 0, view.order.length - 1);
    const k = view.order[view.region];
    status.textContent = `region ${view.plan.regions[k]}: joint r ${number(so.region_joint[k])}, ridge r ${number(so.region_ridge[k])}, family-wise p ${number(so.region_p_fwe[k])}`;
    draw();
  }
  function fold(step) {
    if (!view.folds.length) return;
    view.fold = clamp(view.fold + step, 0, view.folds.length - 1);
    view.follow = view.fold === view.folds.length - 1;
    status.textContent = `fold ${view.fold + 1} of ${view.folds[view.fold].folds}`;
    root.dataset.fold = String(view.fold);
    draw();
  }
  const recolour = () => { view.colour = view.colour === "condition" ? "run" : "condition"; root.dataset.colour = view.colour; draw(); };
  const other = (step) => {
    const next = view.runs[view.runs.indexOf(view.run) + step];
    if (next) ask({ kind: "attach", options: { run: next } });
  };
  const press = (name) => { if (!buttons[name].disabled && !buttons[name].hidden) buttons[name].click(); };
  const KEYS = {
    s: () => press("start"), x: () => press("stop"), r: () => press("resume"), c: recolour, n: () => other(1), p: () => other(-1), e: () => form.focus(),
    ArrowLeft: () => region(-1), ArrowRight: () => region(1), ArrowUp: () => fold(-1), ArrowDown: () => fold(1),
  };
  root.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the notebook has other plans with single letters
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { root.focus({ preventScroll: true }); return; }
    if (event.key === "Enter" && event.target.matches("form input")) { event.preventDefault(); press("start"); return; }
    if (event.target !== root || !KEYS[event.key]) return;
    KEYS[event.key]();
    event.preventDefault();
  });
  canvases.regions.addEventListener("pointerdown", (event) => {
    const panel = view.regionPanel;
    if (panel) region(Math.round(((event.offsetX - panel.left) / panel.width) * view.order.length - 0.5) - view.region);
  });
  canvases.embedding.addEventListener("pointerdown", recolour);
  canvases.split.addEventListener("pointerdown", () => { if (view.folds.length) fold(view.fold + 1 < view.folds.length ? 1 : -view.fold); });
  root.addEventListener("pointerdown", (event) => { if (event.target.tagName === "CANVAS") root.focus({ preventScroll: true }); });

  const told = () => {
    const { fault: why, number: answered = 0 } = model.get("told");
    status.textContent = why ?? "";
    root.dataset.answered = String(answered);
  };
  const anew = () => { view.follow = true; view.region = -1; refresh(); };
  const others = Object.fromEntries(TRAITS.filter((name) => name !== "run").map((name) => [`change:${name}`, refresh]));
  const stopHearing = hear(model, { "change:told": told, "change:run": anew, ...others });

  root.append(
    make("div", { class: "mm-title" }, make("strong", {}, "Training"), state, bar, eta, make("span", { class: "mm-run" }, runs)),
    form.form, make("div", { class: "mm-actions" }, ...Object.values(buttons)), status, fault, gain,
    make("div", { class: "mm-charts" }, ...Object.values(canvases)), makeHelp(form.form ? [...KEYHELP_CHOICES, ...KEYHELP] : KEYHELP));
  el.append(root);
  refresh();
  return () => { stopPainting(); stopHearing(); };
}

export default { render };
