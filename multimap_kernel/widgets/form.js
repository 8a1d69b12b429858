// What a person chooses before a run: sessions, split, lags, size.

/** Gives the form and what is chosen in it; without choices (a run of this kernel) there is none. */
function makeForm(choices, start) {
  if (!choices.sessions) return { form: "", read: () => ({}), focus: () => {} };
  const option = (value) => make("option", { value }, value);
  const field = (name, type, value, extra = {}) => make("input", { name, type, value, ...extra });
  const select = (name, values, value) => {
    const element = make("select", { name }, ...values.map(option));
    element.value = value;
    return element;
  };
  const sessions = make("fieldset", {}, make("legend", {}, "sessions"), ...choices.sessions.map((label) => make("label", {}, make("input", { type: "checkbox", name: "session", value: label, checked: "" }), label)));
  const form = make("form", { class: "mm-form", onsubmit: (event) => { event.preventDefault(); start(); } },
    sessions,
    make("label", {}, "split by", select("kind", ["block", "run", "session", "subject"], choices.kind)),
    make("label", {}, "folds", field("folds", "number", choices.folds, { min: 2, step: 1 })),
    make("label", {}, "gap, s", field("gap_s", "number", choices.gap_s, { min: 0, step: "any" })),
    make("label", {}, "lags, s", field("lags_s", "text", choices.lags_s.join(" "), { spellcheck: "false" })),
    make("label", {}, "size", select("size", ["small", "base"], choices.size)),
    make("label", {}, "seed", field("seed", "number", choices.seed, { step: 1 })));
  const read = () => {
    const { kind, folds, gap_s, lags_s, size, seed } = form.elements;
    return {
      sessions: [...form.querySelectorAll("[name=session]:checked")].map(({ value }) => value),
      kind: kind.value, folds: Number(folds.value), gap_s: Number(gap_s.value), size: size.value, seed: Number(seed.value),
      lags_s: lags_s.value.split(/[\s,;]+/).filter(Boolean).map(Number),
    };
  };
  return { form, read, focus: () => form.querySelector("input").focus() };
}
