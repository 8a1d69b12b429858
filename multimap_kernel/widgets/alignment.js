// The widget: state, what is asked of the kernel, mouse and keys. The kernel answers by synced traits.

function startState(model) {
  const facts = model.get("facts");
  const window = model.get("window");
  return {
    facts, picked: model.get("picked"), t0: window.start, t1: window.stop, mode: MODES[0], gain: 200, selection: null,
    channel: facts.channels[0], preview: null, detail: null,
  };
}

function readWindow(model, view) {
  const window = model.get("window");
  view.window = { ...window, before: unpackRecording(window.before), after: unpackRecording(window.after) };
  view.detail = unpackDetail(model.get("detail"));
}

/** What a decision may have changed. */
function readJudgement(model, view) {
  view.clocks = model.get("clocks");
  view.decisions = model.get("decisions");
  view.data = unpackTimeline(model.get("timeline"));
  view.span = [Math.min(view.clocks.span[0], 0), Math.max(view.clocks.span[1], view.facts.volumes * view.clocks.repetition_time)];
  view.lanes = lanesOf(view.data);
}

/** One question at a time of each kind; a newer one waits for the answer and replaces older waiting ones. */
function makeAsker(model, busy) {
  const asked = new Map();
  let number = 0;
  function send(message) {
    number += 1;
    asked.set(message.kind, { number, next: null, at: performance.now() });
    busy(message.kind);
    model.send({ ...message, number });
  }
  return {
    ask(message) {
      const open = asked.get(message.kind);
      if (open && performance.now() - open.at < 30000) open.next = message;
      else send(message);
    },
    answered(kind, of) {
      const open = asked.get(kind);
      if (!open || of < open.number) return null;
      asked.delete(kind);
      if (open.next) send(open.next);
      else busy(null);
      return performance.now() - open.at;
    },
    waiting: () => [...asked.keys()],
  };
}

function header(view) {
  const { clocks, facts } = view;
  const { fault, verdict } = clocks;
  const numbers = fault ? [] : [
    ["offset", `${clocks.offset_s.toFixed(5)} s ± ${written(clocks.interval_ms)} ms`], ["drift", `${written(clocks.drift_ppm)} ppm`],
    ["residual", clocks.rms_ms === null ? "none" : `rms ${written(clocks.rms_ms)}, largest ${written(clocks.largest_ms)} ms`],
    ["markers", `${clocks.matched} of ${facts.volumes} matched, ${clocks.lost} missing, ${clocks.extra} extra, ${clocks.dummy} before`],
    ["marker", clocks.marker], ["TR", `${written(clocks.repetition_time)} s`],
  ];
  return [
    make("div", { class: "mm-title" },
      make("b", {}, facts.session), make("span", { class: "mm-verdict", "data-verdict": verdict }, fault ? "no alignment" : verdict),
      clocks.fate ? make("span", { class: "mm-fate", "data-fate": clocks.fate }, { accept: "accepted", exclude: "excluded", hold: "held" }[clocks.fate]) : ""),
    make("div", { class: "mm-facts" }, ...numbers.map(([name, value]) => make("span", {}, make("em", {}, name), ` ${value}`))),
    make("div", { class: "mm-reasons" }, fault || clocks.reasons.join(" · ")),
    make("div", { class: "mm-stale" }, clocks.stale.length ? `The next run computes or finds again: ${clocks.stale.join(", ")}.` : "All results are up to date with the decisions."),
  ];
}

function render({ model, el }) {
  const view = startState(model);
  const root = makePanel("alignment", `alignment of ${view.facts.session}`);
  const head = make("div", { class: "mm-head" });
  const canvases = Object.fromEntries(["timeline", "traces", "courses", "spectrum"].map((name) => [name, make("canvas", { class: `mm-${name}` })]));
  const status = make("div", { class: "mm-status", role: "status" });
  const legend = make("div", { class: "mm-legend" }, ...[["after", "matched"], ["jitter", "jittered"], ["missing", "missing"], ["extra", "extra"], ["ghost", "as it would be"]]
    .map(([colour, name]) => make("span", { "data-key": colour, style: `--mm-key: var(--mm-${colour})` }, name)));
  let slow = 0;

  const { draw, drawNow, stopPainting } = makePainter(root, () => {
    view.theme = themeOf(root);
    drawTimeline(canvases.timeline, view);
    drawTraces(canvases.traces, view);
    drawCourses(canvases.courses, view);
    drawSpectrum(canvases.spectrum, view);
    root.dataset.picked = view.picked ?? "";
  });

  const WORDS = { window: "this stretch of EEG", detail: "the spectrum", preview: "the effect", decide: "saving the decision", undo: "taking it back" };
  const { ask, answered, waiting } = makeAsker(model, (kind) => {
    clearTimeout(slow);
    root.dataset.waiting = waiting().join(" ");
    if (kind) slow = setTimeout(() => { status.textContent = `waiting for the kernel: ${waiting().map((one) => WORDS[one]).join(", ")}`; }, 400);
    else status.textContent = "";
  });

  const askWindow = () => ask({ kind: "window", start: view.t0, stop: view.t1, columns: Math.max(200, Math.round(root.clientWidth - MARGIN.left - MARGIN.right)) });
  const askDetail = () => ask({ kind: "detail", channel: view.channel, start: view.t0, stop: view.t1 });

  const actions = makeActions(view, ask, () => { root.focus({ preventScroll: true }); draw(); });
  const tellPicked = () => { model.set("picked", view.picked); model.save_changes(); };
  const moves = makeMoves(view, { draw, askWindow, askDetail, tellPicked, tell: actions.tell });
  const keys = keysOf(view, moves, { draw, undo: () => ask({ kind: "undo" }) });
  root.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the notebook has other plans with single letters
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target !== root) {
      if (event.key === "Escape") root.focus({ preventScroll: true });
      return;
    }
    const known = keys[event.key];
    if (known) known(event);
    if (known || actions.openByKey(event.key)) event.preventDefault();
  });

  listen(canvases, view, moves, { draw, root });

  const layout = () => { canvases.timeline.style.height = `${timelineHeight(view.lanes)}px`; canvases.traces.style.height = `${clamp(view.facts.channels.length * 15 + 40, 220, 620)}px`; };
  function refresh() {
    readJudgement(model, view);
    head.replaceChildren(...header(view));
    actions.refresh();
    layout();
    root.dataset.span = JSON.stringify(view.span);
    draw();
  }
  const numbered = (name) => model.get(name).number ?? 0;
  const stopHearing = hear(model, {
    "change:window": () => {
      readWindow(model, view);
      drawNow();
      const took = answered("window", numbered("window"));
      if (took !== null) { root.dataset.latency = took.toFixed(1); root.dataset.answered = String(Number(root.dataset.answered ?? 0) + 1); }
    },
    "change:detail": () => { readWindow(model, view); draw(); answered("detail", numbered("detail")); },
    "change:preview": () => { view.preview = model.get("preview"); answered("preview", numbered("preview")); actions.showEffect(view.clocks, view.preview); draw(); },
    "change:clocks": refresh,
    "change:timeline": refresh,
    "change:decisions": refresh,
    "change:picked": () => { if (model.get("picked") !== view.picked && model.get("picked") !== null) moves.pick(model.get("picked"), { tell: false }); },
    "change:done": () => {
      const { kind, number, fault, before, after } = model.get("done");
      answered(kind, number);
      if (fault) actions.tell(fault);
      else if (after) { actions.showEffect(before, after); root.dataset.decided = String(number); }
      askWindow();
    },
  });

  root.append(head, make("div", { class: "mm-top" }, legend, status), canvases.timeline, canvases.traces, make("div", { class: "mm-row" }, canvases.courses, canvases.spectrum), actions.element, makeHelp(HELP));
  el.append(root);
  readWindow(model, view);
  refresh();
  return () => { stopPainting(); stopHearing(); };
}

export default { render };
