// Draws each figure when it comes near the window, in the colours of the paper that it stands on.
(() => {
  "use strict";
  const PAPERS = {
    light: {ink: "#1b1f24", soft: "#59636e", line: "#d9dee4", paper: "#ffffff",
      1: "#0072b2", 2: "#b8430b", 3: "#0a7f5a", 4: "#8a5a00", 5: "#a3407f", 6: "#4b5563"},
    dark: {ink: "#e6e9ed", soft: "#9aa5b1", line: "#343b44", paper: "#15181c",
      1: "#56b4e9", 2: "#ff8a4c", 3: "#3cc795", 4: "#f0c040", 5: "#e08cbf", 6: "#b0b8c2"},
  };
  const PRINTED_PX = 680;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const figures = [...document.querySelectorAll("figure.drawn")];

  const hex = (colour, opacity) => {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${opacity})`;
  };
  const inked = (value, paper) => {
    if (typeof value === "string") {
      const found = /^@(\w+)(?:\/([\d.]+))?$/.exec(value);
      if (!found || !(found[1] in paper)) return value;
      return found[2] ? hex(paper[found[1]], found[2]) : paper[found[1]];
    }
    if (Array.isArray(value)) {
      return typeof value[0] === "number" ? value : value.map((one) => inked(one, paper));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, inked(one, paper)]));
    }
    return value;
  };

  const axis = (own, paper) => ({gridcolor: paper.line, linecolor: paper.line, zeroline: false, automargin: true,
    fixedrange: narrow(), ...own});
  const narrow = () => innerWidth < 560;
  const sparse = (own) => {
    if (!narrow() || !own || !own.tickvals || own.tickvals.length < 5) return own;
    const every = (list) => list.filter((_, i) => i % 2 === 0);
    return {...own, tickvals: every(own.tickvals), ticktext: every(own.ticktext)};
  };
  // There is no room for names on a phone: they stand in the words and tables below.
  const bare = (data) => !narrow() ? data : data.map((one) =>
    one.mode === "markers+text" ? {...one, mode: "markers"}
    : one.type === "treemap" ? {...one, texttemplate: one.parents.map((of) => of ? "%{text}" : "%{label}")} : one);

  function draw(figure, {toPrint = false} = {}) {
    const plot = figure.querySelector(".canvas");
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const paper = PAPERS[dark.matches && !toPrint ? "dark" : "light"];
    const own = inked(spec.layout, paper);
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: {family: "system-ui, sans-serif", size: 13, color: paper.soft},
      margin: {l: 52, r: 16, t: 36, b: 48},
      modebar: {bgcolor: "rgba(0,0,0,0)", color: paper.soft, activecolor: paper.ink},
      hoverlabel: {bgcolor: paper.paper, bordercolor: paper.soft, font: {color: paper.ink}},
      ...own,
      legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", ...own.legend},
      height: spec.height,
      xaxis: {tickangle: 0, ...axis(sparse(own.xaxis), paper)}, yaxis: axis(own.yaxis, paper),
      ...(toPrint ? {width: PRINTED_PX, autosize: false} : {autosize: true}),
    };
    const config = {displaylogo: false, responsive: true, displayModeBar: narrow() || toPrint ? false : "hover",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"]};
    Plotly.react(plot, bare(inked(spec.data, paper)), layout, config);
    if (!figure.dataset.drawn) {
      figure.dataset.drawn = "yes";
      performance.mark("drawn");
    }
  }

  // Plotly takes longer to start than all else here: a script with an address is compiled beside the page, an inline one
  // holds it up. Whoever prints can't wait for it.
  const code = () => document.getElementById("plotly").textContent;
  function start(then) {
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([code()], {type: "text/javascript"}));
    script.onload = then;
    document.head.append(script);
  }
  function startNow() {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = code();
    document.head.append(script);
  }
  const redraw = () => figures.filter((f) => f.dataset.drawn).forEach((f) => draw(f));
  const near = new IntersectionObserver((seen) => {
    for (const {isIntersecting, target} of seen) {
      if (isIntersecting) {
        near.unobserve(target);
        draw(target);
      }
    }
  }, {rootMargin: "300px"});
  const begin = () => setTimeout(() => start(() => {
    figures.filter((one) => !one.dataset.drawn).forEach((figure) => near.observe(figure));
  }));
  if (document.readyState === "complete") begin();
  else addEventListener("load", begin);

  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    startNow();
    near.disconnect();
    document.querySelectorAll("details:has(figure)").forEach((one) => { one.open = true; });
    figures.forEach((figure) => draw(figure, {toPrint: true}));
  });
  addEventListener("afterprint", redraw);
})();
