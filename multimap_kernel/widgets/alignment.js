// The widget: state, what is asked of the kernel, mouse and keys. The kernel answers by synced traits.

const HELP = [
  ["← →", "cursor by a volume, with Shift by a twentieth of the window"], ["Page Up/Down", "scroll"], ["+ −", "zoom"],
  ["Home End", "first, last volume"], ["0", "whole run"], ["↑ ↓", "channel"], ["n p", "next, previous marker in doubt"],
  ["[ ]", "begin and end of a span at the cursor"], ["o", "before, after or both"], ["< >", "smaller, larger traces"],
  ["Tab", "to the buttons and decisions"], ["Esc", "back to the panels"],
];

function startState(model) {
  const facts = model.get("facts");
  const window = model.get("window");
  return {
    facts, picked: model.get("picked"), t0: window.start, t1: window.stop, mode: MODES[0], gain: 200, selection: null,
    channel: facts.channels[0], preview: null, detail: null,
  };
}

function readTraits(model, view) {
  const window = model.get("window");
  view.clocks = model.get("clocks");
  view.decisions = model.get("decisions");
  view.data = unpackTimeline(model.get("timeline"));
  view.window = { ...window, before: unpackRecording(window.before), after: unpackRecording(window.after) };
  view.detail = unpackDetail(model.get("detail"));
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
  const root = make("div", { class: "multimap-alignment", tabindex: "0", "data-lm-suppress-shortcuts": "true", role: "application", "aria-label": `alignment of ${view.facts.session}` });
  const head = make("div", { class: "mm-head" });
  const canvases = Object.fromEntries(["timeline", "traces", "courses", "spectrum"].map((name) => [name, make("canvas", { class: `mm-${name}` })]));
  const status = make("div", { class: "mm-status", role: "status" });
  const legend = make("div", { class: "mm-legend" }, ...[["after", "matched"], ["jitter", "jittered"], ["missing", "missing"], ["extra", "extra"], ["ghost", "as it would be"]]
    .map(([colour, name]) => make("span", { "data-key": colour, style: `--mm-key: var(--mm-${colour})` }, name)));
  const help = make("details", { class: "mm-help" }, make("summary", {}, "Keys"), make("div", {}, ...HELP.map(([key, what]) => make("span", {}, make("kbd", {}, key), ` ${what}`))));
  let frameAsked = 0;
  let slow = 0;

  const paint = () => {
    frameAsked = 0;
    if (!root.isConnected || !root.clientWidth) return;
    view.theme = themeOf(root);
    drawTimeline(canvases.timeline, view);
    drawTraces(canvases.traces, view);
    drawCourses(canvases.courses, view);
    drawSpectrum(canvases.spectrum, view);
    root.dataset.picked = view.picked ?? "";
    root.dataset.drawn = String(Number(root.dataset.drawn ?? 0) + 1);
  };
  const draw = () => { if (!frameAsked) frameAsked = requestAnimationFrame(paint); };

  const WORDS = { window: "this stretch of EEG", detail: "the spectrum", preview: "the effect", decide: "saving the decision", undo: "taking it back" };
  const { ask, answered, waiting } = makeAsker(model, (kind) => {
    clearTimeout(slow);
    root.dataset.waiting = waiting().join(" ");
    if (kind) slow = setTimeout(() => { status.textContent = `waiting for the kernel: ${waiting().map((one) => WORDS[one]).join(", ")}`; }, 400);
    else status.textContent = "";
  });

  const askWindow = () => ask({ kind: "window", start: view.t0, stop: view.t1, columns: Math.max(200, Math.round(root.clientWidth - MARGIN.left - MARGIN.right)) });
  const askDetail = () => ask({ kind: "detail", channel: view.channel, start: view.t0, stop: view.t1 });

  function go(t0, t1) {
    const [begin, end] = view.span;
    const length = clamp(t1 - t0, 0.05, end - begin);
    view.t0 = clamp(t0, begin, end - length);
    view.t1 = view.t0 + length;
    draw();
    askWindow();
  }
  const zoom = (factor, at = view.picked ?? (view.t0 + view.t1) / 2) => {
    const centre = at < view.t0 || at > view.t1 ? (view.t0 + view.t1) / 2 : at;
    go(centre - (centre - view.t0) * factor, centre + (view.t1 - centre) * factor);
  };
  function pick(time, { tell = true } = {}) {
    view.picked = clamp(time, ...view.span);
    if (view.picked < view.t0 || view.picked > view.t1) {
      const half = (view.t1 - view.t0) / 2;
      go(view.picked - half, view.picked + half);
    }
    if (tell) { model.set("picked", view.picked); model.save_changes(); }
    draw();
  }
  function choose(step) {
    const { channels } = view.facts;
    view.channel = channels[clamp(channels.indexOf(view.channel) + step, 0, channels.length - 1)];
    draw();
    askDetail();
  }
  function doubtful(direction) {
    const { clocks, data } = view;
    const times = [...clocks.missing.map((volume) => volume * clocks.repetition_time), ...[...data.marker].filter((_, k) => [KIND.extra, KIND.jittered].includes(data.kind[k]))];
    const at = view.picked ?? view.span[0] - 1;
    const ahead = times.filter((time) => (time - at) * direction > 1e-6).sort((one, other) => (one - other) * direction);
    if (ahead.length) pick(ahead[0]);
    else actions.tell(times.length ? "no further marker in doubt" : "no marker is in doubt");
  }
  function mark(end) {
    const at = view.picked ?? (view.t0 + view.t1) / 2;
    view.selection = end ? [view.selection?.[0] ?? at, at] : [at, at];
    draw();
  }

  const actions = makeActions(view, ask, () => { root.focus({ preventScroll: true }); draw(); });
  const tr = () => view.clocks.repetition_time;
  const KEYS = {
    ArrowLeft: (event) => pick((view.picked ?? view.t0) - (event.shiftKey ? (view.t1 - view.t0) / 20 : tr())),
    ArrowRight: (event) => pick((view.picked ?? view.t0) + (event.shiftKey ? (view.t1 - view.t0) / 20 : tr())),
    PageUp: () => go(view.t0 - (view.t1 - view.t0) * 0.8, view.t1 - (view.t1 - view.t0) * 0.8),
    PageDown: () => go(view.t0 + (view.t1 - view.t0) * 0.8, view.t1 + (view.t1 - view.t0) * 0.8),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => go(...view.span),
    Home: () => pick(0), End: () => pick((view.facts.volumes - 1) * tr()),
    ArrowUp: () => choose(-1), ArrowDown: () => choose(1),
    n: () => doubtful(1), p: () => doubtful(-1), "[": () => mark(false), "]": () => mark(true),
    o: () => { view.mode = MODES[(MODES.indexOf(view.mode) + 1) % MODES.length]; draw(); },
    "<": () => { view.gain *= 2; draw(); }, ">": () => { view.gain /= 2; draw(); },
    u: () => ask({ kind: "undo" }), Escape: () => { view.selection = null; draw(); },
  };
  root.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the notebook has other plans with single letters
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target !== root) {
      if (event.key === "Escape") root.focus({ preventScroll: true });
      return;
    }
    const known = KEYS[event.key];
    if (known) known(event);
    if (known || actions.openByKey(event.key)) event.preventDefault();
  });

  listen(canvases, view, { go, zoom, pick, draw, root, choose: (channel) => { view.channel = channel; draw(); askDetail(); } });

  const layout = () => { canvases.timeline.style.height = `${timelineHeight(view.lanes)}px`; canvases.traces.style.height = `${clamp(view.facts.channels.length * 15 + 40, 220, 620)}px`; };
  function refresh() {
    readTraits(model, view);
    head.replaceChildren(...header(view));
    actions.refresh();
    layout();
    root.dataset.span = JSON.stringify(view.span);
    draw();
  }
  const numbered = (name) => model.get(name).number ?? 0;
  const watch = {
    "change:window": () => {
      refresh();
      const took = answered("window", numbered("window"));
      if (took !== null) { root.dataset.latency = took.toFixed(1); root.dataset.answered = String(Number(root.dataset.answered ?? 0) + 1); }
    },
    "change:detail": () => { refresh(); answered("detail", numbered("detail")); },
    "change:preview": () => { view.preview = model.get("preview"); answered("preview", numbered("preview")); actions.showEffect(view.clocks, view.preview); draw(); },
    "change:clocks": refresh,
    "change:timeline": refresh,
    "change:decisions": refresh,
    "change:picked": () => { if (model.get("picked") !== view.picked && model.get("picked") !== null) pick(model.get("picked"), { tell: false }); },
    "change:done": () => {
      const { kind, number, text, fault, before, after } = model.get("done");
      answered(kind, number);
      if (fault) actions.tell(fault);
      else if (after) { actions.showEffect(before, after); root.dataset.decided = String(number); }
      else if (text) actions.tell(text);
      askWindow();
    },
  };
  for (const [event, handler] of Object.entries(watch)) model.on(event, handler);

  root.append(head, make("div", { class: "mm-top" }, legend, status), canvases.timeline, canvases.traces, make("div", { class: "mm-row" }, canvases.courses, canvases.spectrum), actions.element, help);
  el.append(root);
  refresh();
  const resized = new ResizeObserver(draw);
  resized.observe(root);
  const themed = new MutationObserver(draw);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  return () => {
    resized.disconnect();
    themed.disconnect();
    for (const [event, handler] of Object.entries(watch)) model.off(event, handler);
  };
}

/** Wheel zooms (with Shift it scrolls), dragging scrolls, Shift and dragging marks a span, a click picks. */
function listen({ timeline, traces }, view, { go, zoom, pick, choose, draw, root }) {
  const timeAt = (panel, event) => {
    const { x0, x1 } = panel.range;
    return x0 + ((event.offsetX - panel.left) / panel.width) * (x1 - x0);
  };
  traces.addEventListener("wheel", (event) => {
    event.preventDefault();
    const along = (view.t1 - view.t0) * 0.002 * (event.deltaX || event.deltaY);
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) go(view.t0 + along, view.t1 + along);
    else zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(view.tracesPanel, event));
  }, { passive: false });
  let held = null;
  traces.addEventListener("pointerdown", (event) => {
    root.focus({ preventScroll: true });
    traces.setPointerCapture(event.pointerId);
    held = { x: event.offsetX, time: timeAt(view.tracesPanel, event), t0: view.t0, t1: view.t1, moved: false, marks: event.shiftKey };
  });
  traces.addEventListener("pointermove", (event) => {
    if (!held) return;
    held.moved ||= Math.abs(event.offsetX - held.x) > 3;
    if (!held.moved) return;
    if (held.marks) { view.selection = [held.time, timeAt(view.tracesPanel, event)]; draw(); return; }
    const along = ((event.offsetX - held.x) / view.tracesPanel.width) * (held.t1 - held.t0);
    go(held.t0 - along, held.t1 - along);
  });
  traces.addEventListener("pointerup", (event) => {
    if (held && !held.moved) {
      const panel = view.tracesPanel;
      const row = Math.floor(((event.offsetY - panel.top) / panel.height) * view.facts.channels.length);
      if (event.offsetX > panel.left) pick(held.time);
      choose(view.facts.channels[clamp(row, 0, view.facts.channels.length - 1)]);
    }
    held = null;
  });
  timeline.addEventListener("pointerdown", (event) => {
    root.focus({ preventScroll: true });
    const time = timeAt(view.timelinePanel, event);
    const half = (view.t1 - view.t0) / 2;
    pick(time);
    go(view.picked - half, view.picked + half);
  });
}

export default { render };
