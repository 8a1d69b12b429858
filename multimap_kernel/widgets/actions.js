// What a person can decide: one form for all actions, what each would do to the residual, and what was decided.

const CLEANING = "the clocks stay; the EEG is cleaned again without it";

/** Key, name, the step of the form, and what its field starts with; `reason` says whether one must be given. */
const ACTIONS = [
  { key: "a", action: "accept", name: "Accept", hint: "the session is fit for use" },
  { key: "s", action: "shift", name: "Shift", field: "offset, ms", start: (view) => view.clocks.shift_ms, kind: "number" },
  { key: "t", action: "repetition_time", name: "TR", field: "seconds per volume", start: (view) => view.clocks.repetition_time, kind: "number" },
  { key: "f", action: "first_volume", name: "First volume", field: "volume of the first marker", start: (view) => -view.clocks.dummy, kind: "number" },
  { key: "d", action: "drop_marker", name: "Delete marker", field: "marker at, s", start: (view) => fixed(nearestMarker(view)), kind: "text" },
  { key: "i", action: "add_marker", name: "Insert marker", field: "marker at, s", start: (view) => fixed(suggestedMarker(view)), kind: "text" },
  { key: "m", action: "marker", name: "Marker name", field: "label of the volume marker", start: (view) => view.clocks.marker, choices: (view) => Object.keys(view.facts.labels) },
  { key: "c", action: "bad_channel", name: "Bad channel", hint: CLEANING, field: "channel", start: (view) => view.channel, choices: (view) => view.facts.channels },
  { key: "b", action: "bad_span", name: "Bad span", hint: CLEANING, field: "from:to, s", start: (view) => suggestedSpan(view), kind: "text" },
  { key: "x", action: "exclude", name: "Exclude", reason: true, hint: "batch leaves the session out" },
];

const fixed = (value) => (Number.isFinite(value) ? value.toFixed(4) : "");

function nearestMarker(view) {
  const at = view.picked ?? (view.t0 + view.t1) / 2;
  return view.data.marker.reduce((best, time) => (Math.abs(time - at) < Math.abs(best - at) ? time : best), Infinity);
}

/** The start of the nearest volume without marker, if it is near the cursor; else the cursor. */
function suggestedMarker(view) {
  const at = view.picked ?? (view.t0 + view.t1) / 2;
  const tr = view.clocks.repetition_time;
  const near = view.clocks.missing.map((volume) => volume * tr).find((time) => Math.abs(time - at) < tr / 2);
  return near ?? at;
}

function suggestedSpan(view) {
  const at = view.picked ?? (view.t0 + view.t1) / 2;
  const [begin, end] = view.selection ?? [at, at + view.clocks.repetition_time];
  return `${fixed(Math.min(begin, end))}:${fixed(Math.max(begin, end))}`;
}

function effectOf(before, after) {
  if (after.fault) return `No alignment: ${after.fault}`;
  const ms = (value) => (value === null ? "none" : `${written(value)} ms`);
  const changed = (name, one, other) => (one === other ? "" : `${name} ${one} → ${other}`);
  return [
    `residual rms ${ms(before.rms_ms)} → ${ms(after.rms_ms)}`,
    changed("verdict", before.verdict, after.verdict),
    changed("matched", before.matched, after.matched),
    changed("missing", before.lost, after.lost),
    changed("extra", before.extra, after.extra),
    changed("drift", `${written(before.drift_ppm)} ppm`, `${written(after.drift_ppm)} ppm`),
  ].filter(Boolean).join(" · ");
}

/** Buttons, form and list; `ask` sends to the kernel, `back` gives the keys back to the panels. */
function makeActions(view, ask, back) {
  const form = make("form", { class: "mm-form", hidden: "" });
  const effect = make("div", { class: "mm-effect", role: "status", "aria-live": "polite" });
  const list = make("ol", { class: "mm-decisions" });
  const undo = make("button", { type: "button", title: "take the latest decision back (u)", "data-action": "undo", onclick: () => ask({ kind: "undo" }) }, "Undo ", make("kbd", {}, "u"));
  const buttons = ACTIONS.map((one) => make(
    "button",
    { type: "button", "data-action": one.action, title: one.hint ?? one.field, onclick: () => open(one) },
    `${one.name} `, make("kbd", {}, one.key),
  ));
  let waiting = 0;

  function close() {
    form.hidden = true;
    form.replaceChildren();
    view.preview = null;
    back();
  }

  function open(one) {
    const value = one.choices
      ? make("select", { name: "value" }, ...one.choices(view).map((name) => new Option(name, name, false, name === one.start(view))))
      : make("input", { name: "value", type: one.kind ?? "hidden", step: "any", autocomplete: "off" });
    if (one.start && !one.choices) value.value = one.start(view);
    const reason = make("input", { name: "reason", type: "text", placeholder: one.reason ? "needed: readers of the report see it" : "optional", autocomplete: "off" });
    if (one.reason) reason.required = true;
    const field = one.field ? [make("label", {}, `${one.field} `, value)] : [];
    form.replaceChildren(
      make("b", {}, one.name), ...field, make("label", { class: "mm-why" }, "why ", reason),
      make("button", { type: "submit", class: "mm-save" }, "Save ", make("kbd", {}, "Enter")),
      make("button", { type: "button", onclick: close }, "Cancel ", make("kbd", {}, "Esc")),
    );
    form.hidden = false;
    form.dataset.open = one.action;
    const preview = () => {
      clearTimeout(waiting);
      if (one.field && !one.hint) waiting = setTimeout(() => ask({ kind: "preview", action: one.action, value: value.value }), 120);
    };
    value.addEventListener("input", preview);
    form.onsubmit = (event) => {
      event.preventDefault();
      clearTimeout(waiting);
      ask({ kind: "decide", action: one.action, value: one.field ? value.value : "", reason: reason.value });
      close();
    };
    (one.field ? value : reason).focus();
    if (value.select && one.field) value.select();
    effect.textContent = one.hint ?? "";
    preview();
  }

  form.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter" && event.target.tagName !== "BUTTON") {
      event.preventDefault(); // a list of choices would not submit by itself
      form.requestSubmit();
    }
    if (event.key === "Escape") { effect.textContent = ""; close(); }
  });

  function refresh() {
    const decisions = view.decisions;
    undo.disabled = !decisions.some(({ state }) => state === "held");
    list.replaceChildren(...decisions.map(({ identifier, who, when, what, why, state }) => make(
      "li", { "data-state": state, "data-identifier": identifier },
      make("span", { class: "mm-what" }, what), make("span", {}, `${who}, ${when} UTC`), make("span", { class: "mm-reason" }, why),
      state === "held"
        ? make("button", { type: "button", title: `take back: ${what}`, onclick: () => ask({ kind: "undo", identifier }) }, "Undo")
        : make("em", {}, state),
    )));
    if (!decisions.length) list.append(make("li", { class: "mm-none" }, "No decision yet. What you decide is saved at once, and every later run obeys it."));
  }

  const bar = make("div", { class: "mm-actions", role: "toolbar", "aria-label": "decisions" }, ...buttons, undo);
  return {
    element: make("div", { class: "mm-decide" }, bar, form, effect, list),
    openByKey: (key) => {
      const one = ACTIONS.find((candidate) => candidate.key === key);
      if (one) open(one);
      return Boolean(one);
    },
    showEffect: (before, after) => { effect.textContent = effectOf(before, after); },
    tell: (text) => { effect.textContent = text; },
    refresh,
  };
}
