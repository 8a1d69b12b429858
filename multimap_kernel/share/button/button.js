// The Share button of a JupyterLab behind a hub. JupyterLab loads an extension as a container of module federation, which
// is an object with `init` and `get`: this file is one, written by hand, so that nothing must be built. It takes the place
// of the button that jupyter-collaboration brings, whose address opens for nobody who was not let in.
"use strict";
(() => {
  const WARNING =
    "Whoever opens the link and logs in to this hub <strong>runs code as you</strong>: reads and changes your files and " +
    "all data that you may read, and can let others in. Send it only to people you trust with that.";
  const PEOPLE =
    '<p class="multimap-guests" role="status"></p>' +
    '<p><button class="jp-mod-styled jp-mod-accept multimap-invite">Make a link</button> ' +
    '<button class="jp-mod-styled jp-mod-warn multimap-withdraw">Withdraw from everybody</button></p>' +
    '<p class="multimap-made" hidden><input class="jp-mod-styled" readonly aria-label="Link to send"> ' +
    '<button class="jp-mod-styled">Copy</button></p><p class="multimap-told" role="status"></p>';

  let packages; // what JupyterLab itself runs with, one version of each

  async function load(name) {
    const [version] = Object.values(packages[name]);
    return (await version.get())();
  }

  // Asks this server, which asks the hub.
  async function ask(jupyter, method, content) {
    const settings = jupyter.ServerConnection.makeSettings();
    const body = content === undefined ? undefined : JSON.stringify(content);
    const answer = await jupyter.ServerConnection.makeRequest(
      jupyter.URLExt.join(settings.baseUrl, "multimap/sharing"), { method, body }, settings);
    const told = await answer.json();
    if (!answer.ok) {
      throw new Error(told.message);
    }
    return told;
  }

  function inWords({ guests, links }) {
    const open = links ? `${links} link${links > 1 ? "s" : ""} can still be used.` : "";
    return `${guests.length ? `Works here as you: ${guests.join(", ")}.` : "Nobody else can work here."} ${open}`;
  }

  // What the dialog holds; `path` is the notebook or file in front, if there is one.
  function sheet(jupyter, path) {
    const body = document.createElement("div");
    body.style.maxWidth = "34em";
    body.innerHTML = `<p>${WARNING}</p><p class="multimap-opens"></p>${PEOPLE}`;
    const part = (name) => body.querySelector(`.multimap-${name}`);
    const [field, copy] = part("made").children;
    field.style.width = "21em";
    part("opens").textContent = path ? `The link opens ${path}.` : "The link opens the Lab.";
    const say = (words) => { part("told").textContent = words; };
    const act = (work) => async () => {
      try {
        say("");
        const now = await work();
        part("guests").textContent = inWords(now);
        part("withdraw").hidden = !now.guests.length && !now.links;
      } catch (fault) {
        say(fault.message);
      }
    };
    part("invite").onclick = act(async () => {
      const made = await ask(jupyter, "POST", { path });
      field.value = new URL(made.link, location.origin).href;
      part("made").hidden = false;
      field.select();
      say("It can be used for one day; who used it stays until you withdraw.");
      return made;
    });
    part("withdraw").onclick = act(async () => {
      const left = await ask(jupyter, "DELETE");
      part("made").hidden = true;
      say("Withdrawn. What guests started goes on, and they may have kept a key of this server: stop it to end both.");
      return left;
    });
    copy.onclick = () => {
      field.select();
      say(document.execCommand("copy") ? "Copied." : "Copy it with Ctrl+C."); // navigator.clipboard asks for HTTPS
    };
    act(() => ask(jupyter, "GET"))();
    return body;
  }

  function activate(app, jupyter, palette, menu) {
    const guest = jupyter.PageConfig.getOption("hubUser"), owner = jupyter.PageConfig.getOption("hubServerUser");
    if (!owner) {
      return; // no hub, nobody to share with
    }
    if (guest !== owner) {
      const note = new jupyter.Widget();
      note.id = "multimap-guest";
      note.node.textContent = `You work as ${owner}`;
      note.node.style.cssText = "padding: 4px 12px; align-self: center; white-space: nowrap; color: var(--jp-ui-font-color1)";
      app.shell.add(note, "top", { rank: 1000 });
      return;
    }
    const command = "multimap:share";
    app.commands.addCommand(command, {
      label: "Share This Server…",
      caption: "Let others work on this server, as you",
      execute: () => {
        const body = new jupyter.Widget({ node: sheet(jupyter, app.shell.currentWidget?.context?.path ?? "") });
        const buttons = [jupyter.Dialog.okButton({ label: "Close" })];
        return jupyter.showDialog({ title: "Share this server", body, buttons });
      },
    });
    const run = () => app.commands.execute(command);
    const button = new jupyter.ToolbarButton({ label: "Share", tooltip: "Let others work on this server, as you", onClick: run });
    button.id = "multimap-share";
    app.shell.add(button, "top", { rank: 1000 });
    palette?.addItem({ command, category: "Hub" });
    menu?.fileMenu.addGroup([{ command }]);
  }

  const CONTAINER = {
    init: (shared) => { packages = shared; },
    get: async () => {
      const names = ["apputils", "coreutils", "mainmenu", "services", "ui-components"].map((name) => `@jupyterlab/${name}`);
      const found = await Promise.all([...names, "@lumino/widgets"].map(load));
      const jupyter = Object.assign({}, ...found);
      const plugin = {
        id: "multimap:share",
        description: "A button that lets others work on this server.",
        autoStart: true,
        optional: [jupyter.ICommandPalette, jupyter.IMainMenu],
        activate: (app, palette, menu) => activate(app, jupyter, palette, menu),
      };
      return () => ({ __esModule: true, default: plugin });
    },
  };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.multimap = CONTAINER;
})();
