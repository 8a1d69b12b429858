import { existsSync } from "node:fs";
import { defineConfig } from "vite";

// Neuroglancer takes its icons from a commit on GitHub. The package of the same name on npm lacks three of them, on
// buttons that our page does not show: each gets a plain glyph.
const icon = /^ikonate\/icons\/(.+)\.svg\?raw$/;
const glyph = '<svg viewBox="0 0 24 24" width="24" height="24"><circle cx="12" cy="12" r="6" fill="none" stroke="currentColor"/></svg>';
const missingIcons = {
  name: "missing-icons",
  enforce: "pre",
  resolveId(id) {
    const name = icon.exec(id)?.[1];
    return name && !existsSync(`node_modules/ikonate/icons/${name}.svg`) ? `\0icon:${name}` : undefined;
  },
  load(id) {
    return id.startsWith("\0icon:") ? `export default ${JSON.stringify(glyph)}` : undefined;
  },
};

export default defineConfig({
  base: "", // relative addresses: the files work under any prefix of a hub
  plugins: [missingIcons],
  worker: { format: "es", plugins: () => [missingIcons] },
  // nothing but our own Zarr can be read: a state that names another source draws nothing
  resolve: { conditions: ["neuroglancer/datasource:none_by_default", "neuroglancer/datasource/zarr:enabled"] },
  build: { chunkSizeWarningLimit: 4096, target: "es2022", sourcemap: false },
});
