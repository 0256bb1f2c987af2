"use strict";
(() => {
  const held = JSON.parse(document.getElementById("held").textContent);
  const options = {
    mode: "vega-lite",
    renderer: "svg",
    // No code is made of text: the page's policy forbids it.
    ast: true,
    actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
  };

  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    const rows = [];
    const n = names.length ? columns[names[0]].length : 0;
    for (let k = 0; k < n; k++) {
      const row = {};
      for (const name of names) row[name] = columns[name][k];
      rows.push(row);
    }
    return rows;
  };

  const views = new Map();

  const nothing = (place, why) => {
    const told = document.createElement("p");
    told.className = "nothing";
    told.textContent = why;
    place.replaceChildren(told);
  };

  const draw = async (figure, run) => {
    const place = document.getElementById("drawn-" + figure.name);
    const before = views.get(figure.name);
    if (before) before.finalize();
    views.delete(figure.name);
    const key = Object.hasOwn(figure.data, run) ? run : "";
    const data = figure.data[key];
    if (typeof data !== "object") {
      nothing(place, data || "It is not of this run.");
      return;
    }
    const datasets = {};
    for (const [name, columns] of Object.entries(data)) datasets[name] = rowsOf(columns);
    place.replaceChildren();
    const spec = { ...figure.spec, datasets };
    views.set(figure.name, await vegaEmbed(place, spec, { ...options, downloadFileName: figure.name }));
  };

  const drawAll = async (run, all) => {
    document.documentElement.dataset.drawn = "";
    for (const figure of held.figures) {
      if (!all && Object.hasOwn(figure.data, "")) continue;
      try {
        await draw(figure, run);
      } catch (error) {
        nothing(document.getElementById("drawn-" + figure.name), "This figure could not be drawn: " + error);
        console.error(error);
      }
    }
    document.documentElement.dataset.drawn = "all";
  };

  const chosen = document.querySelectorAll('input[name="run"]');
  for (const input of chosen) input.addEventListener("change", () => drawAll(input.value, false));
  const first = document.querySelector('input[name="run"]:checked');
  drawAll(first ? first.value : held.runs[0] || "", true);
})();
