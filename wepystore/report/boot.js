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
    // A layer of nothing would have scales of nothing.
    const layer = figure.spec.layer.filter((each) => datasets[each.data.name].length);
    const spec = { ...figure.spec, layer, datasets };
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

  const structure = (held) => {
    const place = document.getElementById("seen");
    const slider = document.getElementById("frame");
    const button = document.getElementById("play");
    const where = document.getElementById("where");
    const viewer = $3Dmol.createViewer(place, { backgroundAlpha: 0 });
    const model = viewer.addModel(held.pdb, "pdb");
    const frames = held.frames.map((flat) => {
      const atoms = [];
      for (let k = 0; k < flat.length; k += 3) atoms.push([flat[k], flat[k + 1], flat[k + 2]]);
      return atoms;
    });
    model.setCoordinates(frames, "array");
    const protein = { resn: "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split(" ") };
    const colours = { prop: "elem", map: { ...$3Dmol.elementColors.Jmol, C: 0x0072b2 } };
    viewer.setStyle({}, { stick: { radius: 0.13, colorscheme: colours }, sphere: { scale: 0.24, colorscheme: colours } });
    if (model.selectedAtoms({ atom: "CA", ...protein }).length > 3) {
      viewer.setStyle(protein, { cartoon: { color: "spectrum" } });
    }
    let playing = null;
    const show = (k) => {
      slider.value = k;
      viewer.setFrame(k).then(() => viewer.render());
      where.textContent = "cycle " + held.cycle[k] + ", weight " + held.weight[k].toPrecision(3);
    };
    const stop = () => {
      clearInterval(playing);
      playing = null;
      button.textContent = "Play";
    };
    slider.addEventListener("input", () => {
      stop();
      show(Number(slider.value));
    });
    button.addEventListener("click", () => {
      if (playing) return stop();
      button.textContent = "Stop";
      playing = setInterval(() => show((Number(slider.value) + 1) % held.frames.length), 120);
    });
    viewer.zoomTo();
    show(0);
  };
  if (held.structure) {
    try {
      structure(held.structure);
    } catch (error) {
      nothing(document.getElementById("seen"), "This browser cannot show structures: " + error);
    }
  }

  const chosen = document.querySelectorAll('input[name="run"]');
  for (const input of chosen) input.addEventListener("change", () => drawAll(input.value, false));
  const first = document.querySelector('input[name="run"]:checked');
  drawAll(first ? first.value : held.runs[0] || "", true);
})();
