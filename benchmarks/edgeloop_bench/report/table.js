// The table of all results: sorted by any column, searched, copied; only the rows that are seen are in the document.
(() => {
  "use strict";
  const ALL_UP_TO = 200, SPARE = 12;
  const root = document.getElementById("results");
  if (!root) return;
  const {printed, columns, rows} = JSON.parse(root.querySelector("script").textContent);
  const box = root.querySelector(".scroll"), body = root.querySelector("tbody");
  const search = root.querySelector("input"), told = root.querySelector("output");
  const heads = [...root.querySelectorAll("th")];
  const language = new Intl.Collator(undefined, {numeric: true});
  let shown = rows.map((_, i) => i), sorted = {at: -1, up: true}, height = 0, drawn = "";

  const number = (value, digits) => {
    if (value === 0) return "0";
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
    return value.toLocaleString("en", {minimumFractionDigits: Math.min(places, 6), maximumFractionDigits: Math.min(places, 6)});
  };
  const words = (value, column) => value === null ? "–"
    : column.kind === "number" ? number(value, column.digits)
    : column.kind === "count" ? value.toLocaleString("en")
    : column.values ? column.values[value] : value;
  // A spreadsheet takes a text that begins like a formula for one.
  const plain = (value, column) => value === null ? ""
    : column.values ? column.values[value].replace(/^[=+@-]/, "'$&") : String(value);

  // What tells names apart is at their ends.
  const middle = (name) => {
    const text = name.replace(/\.tflite$/, "");
    return text.length <= 20 ? text : `${text.slice(0, 8)}…${text.slice(-11)}`;
  };
  function line(i, position) {
    const row = document.createElement("tr");
    row.setAttribute("aria-rowindex", position + 2);
    columns.forEach((column, at) => {
      const cell = document.createElement(at === 0 ? "th" : "td");
      if (at === 0) cell.scope = "row";
      const text = words(rows[i][at], column);
      cell.textContent = at === 0 && innerWidth < 560 ? middle(text) : text;
      if (column.kind !== "text") cell.className = "n";
      else if (text.length > 20) cell.title = text;
      if (column.name === "verdict" && text !== "valid") cell.className = "bad";
      if (column.minor) cell.classList.add("minor");
      row.append(cell);
    });
    return row;
  }
  const gap = (pixels) => {
    const row = document.createElement("tr");
    row.className = "gap";
    row.setAttribute("aria-hidden", "true");
    const cell = document.createElement("td");
    cell.colSpan = columns.length;
    cell.style.height = `${pixels}px`;
    row.append(cell);
    return row;
  };

  function render({all = false, most = Infinity} = {}) {
    let from = 0, to = Math.min(shown.length, most);
    if (!all && shown.length > ALL_UP_TO) {
      height = height || measured();
      const view = Math.ceil(box.clientHeight / height);
      from = Math.max(0, Math.min(shown.length - view, Math.floor(box.scrollTop / height)) - SPARE);
      to = Math.min(shown.length, from + view + 2 * SPARE);
    }
    const key = `${from} ${to} ${all}`;
    if (key === drawn) return;
    drawn = key;
    const lines = [];
    if (from > 0) lines.push(gap(from * height));
    for (let i = from; i < to; i++) lines.push(line(shown[i], i));
    if (!all && to < shown.length && height) lines.push(gap((shown.length - to) * height));
    body.replaceChildren(...lines);
  }
  function measured() {
    body.replaceChildren(line(shown[0], 0));
    return body.firstChild.getBoundingClientRect().height || 32;
  }
  function refresh() {
    const wanted = search ? search.value.trim().toLowerCase() : "";
    shown = rows.map((_, i) => i);
    if (wanted) {
      shown = shown.filter((i) => columns.some((c, at) => c.kind === "text" && words(rows[i][at], c).toLowerCase().includes(wanted)));
    }
    if (sorted.at >= 0) {
      const {at, up} = sorted, column = columns[at], sign = up ? 1 : -1;
      const compare = column.kind === "text"
        ? (a, b) => language.compare(words(a, column), words(b, column)) : (a, b) => a - b;
      shown.sort((i, j) => {
        const a = rows[i][at], b = rows[j][at];
        if (a === null || b === null) return (a === null) - (b === null) || i - j;  // what isn't known is last, always
        return sign * compare(a, b) || i - j;
      });
    }
    root.querySelector("table").setAttribute("aria-rowcount", shown.length + 1);
    told.textContent = shown.length === rows.length ? `${rows.length.toLocaleString("en")} rows`
      : `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    drawn = "";
    box.scrollTop = 0;
    render();
  }

  heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
    sorted = {at, up: sorted.at === at ? !sorted.up : true};
    heads.forEach((other, i) => {
      if (i === at) other.setAttribute("aria-sort", sorted.up ? "ascending" : "descending");
      else other.removeAttribute("aria-sort");
    });
    refresh();
  }));
  if (search) search.addEventListener("input", refresh);
  box.addEventListener("scroll", () => requestAnimationFrame(() => render()), {passive: true});
  addEventListener("resize", () => { height = 0; drawn = ""; render(); });
  addEventListener("beforeprint", () => { drawn = ""; render({all: true, most: printed}); });
  addEventListener("afterprint", () => { drawn = ""; render(); });

  const cells = (i) => columns.map((column, at) => plain(rows[i][at], column));
  const escaped = (text) => text.replace(/[\\|`*_<>[\]]/g, "\\$&").replace(/\s+/g, " ");
  const forms = {
    tsv: () => [columns.map((c) => c.title), ...shown.map(cells)]
      .map((row) => row.map((text) => text.replace(/[\t\r\n]+/g, " ")).join("\t")).join("\n") + "\n",
    markdown: () => [`| ${columns.map((c) => escaped(c.title)).join(" | ")} |`,
      `|${columns.map((c) => c.kind === "text" ? "---" : "--:").join("|")}|`,
      ...shown.map((i) => `| ${columns.map((c, at) => escaped(words(rows[i][at], c))).join(" | ")} |`)].join("\n") + "\n",
  };
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // a browser that keeps the clipboard from pages in files still lets a selection be copied
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }
  root.querySelectorAll("button[data-copy]").forEach((button) => button.addEventListener("click", async () => {
    await copy(forms[button.dataset.copy]());
    told.textContent = `${shown.length.toLocaleString("en")} rows copied`;
  }));
  refresh();
})();
