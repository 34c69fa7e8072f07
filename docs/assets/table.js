// Filter and sort the tables marked `data-cairn`. Without this script the tables are whole and in their first order.
// The state stands in the address, so that a view can be shared: ?need=judge&sort=Year&order=down
(() => {
  "use strict";
  const query = () => new URLSearchParams(location.search);

  function keep(changes) {
    const now = query();
    for (const [name, value] of Object.entries(changes)) {
      if (value) now.set(name, value); else now.delete(name);
    }
    const text = now.toString();
    history.replaceState(null, "", location.pathname + (text ? "?" + text : "") + location.hash);
  }

  function filter(form, table) {
    const rows = [...table.tBodies[0].rows];
    const fields = [...form.elements].filter((field) => field.name);
    const has = (row, name, value) =>
      (row.getAttribute("data-" + name.replace(/_/g, "-")) || "").split(" ").includes(value);
    const shown = (row, field) => {
      const value = field.value.trim();
      if (!value) return true;
      if (field.name === "q") return row.textContent.toLowerCase().includes(value.toLowerCase());
      const without = field.name.startsWith("without_");
      return has(row, field.name.replace("without_", ""), value) !== without;
    };
    const apply = () => {
      for (const row of rows) row.hidden = !fields.every((field) => shown(row, field));
      const count = rows.filter((row) => !row.hidden).length;
      form.querySelector("output").textContent =
        count ? `${count} of ${rows.length} shown` : "No entry has all of these: choose fewer.";
      keep(Object.fromEntries(fields.map((field) => [field.name, field.value.trim()])));
    };
    const start = query();
    for (const field of fields) field.value = start.get(field.name) || "";
    // A value that is not among the options leaves a select empty: then it means "any".
    for (const field of fields) if (field.selectedIndex === -1) field.selectedIndex = 0;
    // A filter that is set is seen, also where it stands behind a click.
    for (const field of fields) if (field.value) field.closest("details")?.setAttribute("open", "");
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    apply();
  }

  function keyOf(row, column, kind) {
    const cell = row.cells[column], text = cell.dataset.order ?? cell.textContent.trim();
    if (kind !== "number") return text.toLowerCase();
    const value = parseFloat(text.replace(/\u2212/g, "-").replace(/,/g, ""));
    return Number.isNaN(value) ? null : value;
  }

  function order(table, column, down) {
    const body = table.tBodies[0], head = table.tHead.rows[0].cells;
    const kind = head[column].dataset.sort;
    const keyed = [...body.rows].map((row) => [keyOf(row, column, kind), row]);
    const sign = down ? -1 : 1;
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // rows without a number stay last
      return sign * (kind === "number" ? a - b : a.localeCompare(b));
    });
    for (const [, row] of keyed) body.append(row);
    for (const cell of head) cell.removeAttribute("aria-sort");
    head[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  function sortable(table) {
    const head = [...table.tHead.rows[0].cells];
    head.forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = cell.textContent;
      cell.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "ascending";
        order(table, column, down);
        keep({ sort: button.textContent, order: down ? "down" : "" });
      });
    });
    const wanted = head.findIndex((cell) => cell.textContent === query().get("sort"));
    if (wanted >= 0) order(table, wanted, query().get("order") === "down");
  }

  const ready = () => {
    for (const table of document.querySelectorAll("table[data-cairn]")) {
      sortable(table);
      const form = document.querySelector(`form[data-for="${table.id}"]`);
      if (form) filter(form, table);
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready); else ready();
})();
