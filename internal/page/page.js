"use strict";
(() => {
  const { columns, rows, by, tones } = JSON.parse(document.getElementById("data").textContent);
  const pageSize = 100, printed = 2000;
  const element = (id) => document.getElementById(id);
  const order = new Intl.Collator("en", { numeric: true });
  let wish = new URLSearchParams(); // what the address asks for: a value for a column, q, sort and page

  function text(row, i) {
    const v = row[i], c = columns[i];
    if (v === null || v === undefined) return "";
    if (c.kind === "choice") return c.values[v];
    return c.kind === "seconds" ? duration(v) : String(v);
  }

  function duration(v) {
    const whole = (unit, part) => Math.floor(v / unit) + (unit === 60 ? "m" : unit === 3600 ? "h" : "d") + Math.floor((v % unit) / part);
    if (v < 600) return v.toFixed(v < 1 ? 2 : 1) + " s";
    return v < 3600 ? whole(60, 1) + "s" : v < 360000 ? whole(3600, 60) + "m" : whole(86400, 3600) + "h";
  }

  const searched = new Map(); // the text of a row in lower case
  function contains(row, words) {
    if (!searched.has(row)) searched.set(row, columns.map((_, i) => text(row, i)).join("\n").toLowerCase());
    const all = searched.get(row);
    return words.every((w) => all.includes(w));
  }

  function compare(i, a, b) {
    const x = a[i], y = b[i];
    if (x === null || y === null) return (x === null) - (y === null);
    return columns[i].kind === "number" || columns[i].kind === "seconds" ? x - y : order.compare(text(a, i), text(b, i));
  }

  function selected() {
    const words = (wish.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
    const exact = columns.map((c, i) => [i, wish.get(c.key)]).filter(([, v]) => v !== null);
    let list = rows.filter((r) => exact.every(([i, v]) => text(r, i) === v) && contains(r, words));
    const sort = wish.get("sort") || "", down = sort.startsWith("-");
    const i = columns.findIndex((c) => c.key === sort.replace(/^-/, ""));
    if (i >= 0) list = list.slice().sort((a, b) => (down ? compare(i, b, a) : compare(i, a, b)));
    return list;
  }

  function line(row) {
    const tr = document.createElement("tr");
    tr.setAttribute("role", "row");
    columns.forEach((c, i) => {
      if (c.aside) return;
      const td = document.createElement("td");
      td.setAttribute("role", "cell");
      td.dataset.title = c.title;
      td.textContent = text(row, i);
      if (c.kind === "number" || c.kind === "seconds") td.className = "n";
      if (i === by && tones) td.className = "state " + tones[row[i]];
      tr.append(td);
    });
    return tr;
  }

  function show(whole) {
    const list = selected(), size = whole ? printed : pageSize;
    const pages = Math.max(Math.ceil(list.length / size), 1);
    const page = whole ? 1 : Math.min(Math.max(parseInt(wish.get("page"), 10) || 1, 1), pages);
    element("rows").replaceChildren(...list.slice((page - 1) * size, page * size).map(line));
    const filters = [];
    for (const [key, value] of wish) {
      const c = columns.find((c) => c.key === key);
      if (c) filters.push(c.title + " = " + (value || "(none)"));
      if (key === "q" && value) filters.push("search = " + value);
    }
    const number = (n) => n.toLocaleString("en");
    element("found").textContent = number(list.length) + " of " + number(rows.length) + " nodes" + (filters.length ? " (" + filters.join(", ") + ")" : "");
    element("clear").disabled = filters.length === 0;
    element("search").value = wish.get("q") || "";
    for (const s of document.querySelectorAll("#filters select[name]")) s.value = wish.has(s.name) ? "=" + wish.get(s.name) : "";
    element("pages").hidden = pages < 2;
    element("place").textContent = "Page " + page + " of " + pages;
    element("back").disabled = page === 1;
    element("next").disabled = page === pages;
    const sort = wish.get("sort") || "";
    element("sort").value = sort;
    columns.forEach((c, i) => {
      if (heads[i]) heads[i].setAttribute("aria-sort", sort === c.key ? "ascending" : sort === "-" + c.key ? "descending" : "none");
    });
  }

  // change writes a wish into the address, so that a view can be linked to.
  function change(key, value) {
    if (value === null) wish.delete(key);
    else wish.set(key, value);
    if (key !== "page") wish.delete("page");
    history.replaceState(null, "", "#" + wish);
    show();
  }

  // follow does what the address asks for. One that asks for nothing is a place on the page.
  function follow(event) {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) return;
    wish = new URLSearchParams(hash);
    show();
    if (hash) {
      element("nodes").scrollIntoView();
      if (event) element("nodes").focus({ preventScroll: true });
    }
  }

  function head(c) {
    const th = document.createElement("th"), button = document.createElement("button");
    th.setAttribute("role", "columnheader");
    th.scope = "col";
    button.type = "button";
    button.textContent = c.title;
    button.addEventListener("click", () => {
      const sort = wish.get("sort");
      change("sort", sort === c.key ? "-" + c.key : sort === "-" + c.key ? null : c.key);
    });
    th.append(button);
    element("heads").append(th);
    element("sort").add(new Option(c.title, c.key));
    element("sort").add(new Option(c.title + ", greatest first", "-" + c.key));
    return th;
  }
  const heads = columns.map((c) => (c.aside ? null : head(c)));

  for (const c of columns) {
    if (c.kind !== "choice" || !c.values || c.values.length < 2 || c.values.length > 500) continue;
    const label = document.createElement("label"), select = document.createElement("select");
    select.name = c.key;
    select.add(new Option("all", ""));
    for (const v of c.values.slice().sort(order.compare)) select.add(new Option(v || "(none)", "=" + v));
    select.addEventListener("change", () => change(c.key, select.value ? select.value.slice(1) : null));
    label.append(c.title + " ", select);
    element("sort").parentNode.before(label);
  }
  element("sort").addEventListener("change", (e) => change("sort", e.target.value || null));
  element("search").addEventListener("input", (e) => change("q", e.target.value || null));
  element("clear").addEventListener("click", () => {
    const sort = wish.get("sort");
    wish = new URLSearchParams();
    change("sort", sort);
  });
  element("back").addEventListener("click", () => turn(-1));
  element("next").addEventListener("click", () => turn(1));
  function turn(by) {
    change("page", String((parseInt(wish.get("page"), 10) || 1) + by));
    element("found").scrollIntoView();
  }
  element("filters").addEventListener("submit", (e) => e.preventDefault());
  element("filters").hidden = false;
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => show(true));
  addEventListener("afterprint", () => show());
  show();
  follow();
})();
