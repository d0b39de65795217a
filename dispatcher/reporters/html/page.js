"use strict";
// Draws the charts, and makes the page copy, open and close, sort and filter, point at bars and curves.
// All text reaches the page through textContent, so nothing in the data can become anything but text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const span = Math.max(data.end - data.start, 0.001);

  // As the page itself was written: a number exactly between two is rounded to the even one.
  const fixed = (value, digits) => {
    const scaled = value * 10 ** digits, lower = Math.floor(scaled);
    if (!Number.isInteger(value * 8) || scaled - lower !== 0.5) return value.toFixed(digits);
    return ((lower % 2 ? lower + 1 : lower) / 10 ** digits).toFixed(digits);
  };
  const seconds = (value) => {
    if (value < 0.995) return fixed(value, 2) + "s";
    if (value < 59.95) return fixed(value, 1) + "s";
    const whole = Number(fixed(value, 0)), minutes = Math.floor(whole / 60);
    const two = (number) => String(number).padStart(2, "0");
    if (minutes < 60) return `${minutes}m ${two(whole % 60)}s`;
    return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  };
  const bytes = (size) => {
    for (const unit of ["B", "KiB", "MiB", "GiB"]) {
      if (size < 1023.5 || unit === "GiB")
        return (size >= 99.95 || Number.isInteger(size) ? fixed(size, 0) : fixed(size, 1)) + " " + unit;
      size /= 1024;
    }
  };
  const element = (name, classes, text) => {
    const made = document.createElement(name);
    if (classes) made.className = classes;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const draw = (parent, name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };
  const show = (...found) => found.forEach((one) => one && (one.hidden = false));
  const counted = (number, one) => `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;

  show(...document.querySelectorAll(".drawn"));

  // Copying: the clipboard is not there for a page that came over plain HTTP.
  for (const button of document.querySelectorAll(".copy")) {
    const text = button.previousElementSibling;
    button.setAttribute("aria-label", `Copy ${text.textContent}`);
    show(button);
    button.addEventListener("click", async () => {
      let copied = false;
      try {
        await navigator.clipboard.writeText(text.textContent);
        copied = true;
      } catch {
        getSelection().selectAllChildren(text);
        copied = document.execCommand("copy");
      }
      button.textContent = copied ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  // A link to a file opens what it leads to.
  const openEntry = (id, { focus = false } = {}) => {
    const entry = /^file-\d+$/.test(id) ? byId(id) : null;
    if (!entry) return false;
    entry.open = true;
    entry.scrollIntoView();
    if (focus) entry.firstElementChild.focus({ preventScroll: true });
    return true;
  };
  addEventListener("hashchange", () => openEntry(location.hash.slice(1)));
  openEntry(location.hash.slice(1));
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#file-"]');
    if (link && openEntry(link.hash.slice(1), { focus: true })) event.preventDefault();
  });

  // Opening and closing all entries of a section.
  for (const section of [byId("failures"), byId("flaky")]) {
    const entries = section ? [...section.querySelectorAll(".file")] : [];
    if (entries.length < 2) continue;
    const tools = element("div", "tools");
    for (const [text, open] of [["Open all", true], ["Close all", false]]) {
      const button = element("button", "", text);
      button.type = "button";
      button.addEventListener("click", () => entries.forEach((entry) => { entry.open = open; }));
      tools.append(button);
    }
    entries[0].before(tools);
  }

  const files = (() => {
    const table = byId("files-table");
    if (!table) return null;
    const [LABEL, GROUP, STATUS, DURATION, PEAK, CPU, ATTEMPTS, WORKER, ENTRY] = Array(9).keys();
    const columns = { name: LABEL, status: GROUP, duration: DURATION, peak: PEAK, cpu: CPU, attempts: ATTEMPTS, machine: WORKER };
    const groups = ["failed", "flaky", "not run", "passed", "without tests"];
    const body = table.tBodies[0], find = byId("files-find"), more = byId("files-more"), count = byId("files-count");
    const several = data.workers.length > 1;
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    let key = "duration", descending = true, limit = data.rows, timer = 0;

    const worker = (row) => data.workers[row[WORKER]] ?? "";
    const shown = (value, format) => (value ? format(value) : "");
    const cell = (row, classes, content) => {
      const made = element("td", classes);
      made.append(content);
      row.append(made);
    };
    const rowOf = (at) => {
      const file = data.files[at], row = element("tr"), flaky = file[GROUP] === "flaky";
      const name = element(file[ENTRY] ? "a" : "span", "", file[LABEL]);
      if (file[ENTRY]) name.href = `#file-${at}`;
      const words = flaky ? "flaky" : data.statuses[file[STATUS]];
      const cpu = file[CPU] === null ? "" : seconds(file[CPU]);
      const facts = [words, file[ATTEMPTS] > 1 ? counted(file[ATTEMPTS], "attempt") : "", cpu && `${cpu} CPU`, several ? worker(file) : ""];
      cell(row, "name", name);
      row.firstChild.append(element("span", "more", facts.filter(Boolean).join(" · ")));
      cell(row, "wide", element("span", `badge is-${flaky ? "again" : data.looks[file[STATUS]]}`, words));
      cell(row, "num", shown(file[DURATION], seconds));
      cell(row, "num", shown(file[PEAK], bytes));
      cell(row, "num wide", cpu);
      cell(row, "num wide", String(file[ATTEMPTS]));
      if (several) cell(row, "wide", worker(file));
      return row;
    };
    const order = (left, right) => {
      const column = columns[key], a = data.files[left], b = data.files[right];
      let result;
      if (key === "name") result = compare(a[column], b[column]);
      else if (key === "status") result = groups.indexOf(a[column]) - groups.indexOf(b[column]);
      else if (key === "machine") result = compare(worker(a), worker(b));
      else result = (a[column] ?? -1) - (b[column] ?? -1);
      return (descending ? -result : result) || left - right;
    };
    const render = () => {
      const text = find.value.trim().toLowerCase();
      const group = document.querySelector('input[name="group"]:checked').value;
      const found = [...data.files.keys()].filter((at) =>
        (group === "all" || data.files[at][GROUP] === group) && data.files[at][LABEL].toLowerCase().includes(text));
      found.sort(order);
      body.replaceChildren(...found.slice(0, limit).map(rowOf));
      more.hidden = found.length <= limit;
      const first = Math.min(limit, found.length);
      const part = found.length === data.files.length ? counted(found.length, "file")
        : `${found.length.toLocaleString("en")} of ${counted(data.files.length, "file")}`;
      count.textContent = first < found.length ? `${part}, the first ${first.toLocaleString("en")} shown.` : `${part}.`;
    };
    for (const head of table.tHead.rows[0].cells) {
      const button = element("button", "", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const own = head.dataset.key;
        descending = own === key ? !descending : !["name", "status", "machine"].includes(own);
        key = own;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        limit = data.rows;
        render();
      });
    }
    find.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => { limit = data.rows; render(); }, data.files.length > 2000 ? 120 : 0);
    });
    byId("files-filters").addEventListener("change", (event) => {
      if (event.target.name === "group") { limit = data.rows; render(); }
    });
    byId("files-filters").addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => {
      const before = limit;
      limit += 10 * data.rows;
      render();
      body.rows[before]?.querySelector("a")?.focus();
    });
    show(byId("files-filters"));
    more.hidden = data.files.length <= data.rows;
    return {
      only: (label) => {
        find.value = label;
        document.querySelector('input[name="group"][value="all"]').checked = true;
        render();
        find.focus();
      },
    };
  })();

  // The axes: round steps, short labels, places in percent of the width.
  const tickStep = (least) => {
    const round = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];
    for (let fine = 0.001; fine < 1; fine *= 10)
      for (const factor of [1, 2, 5]) if (fine * factor >= least) return fine * factor;
    let days = 86400;
    while (days < least) days *= 2;
    return round.find((step) => step >= least) ?? days;
  };
  const tickLabel = (at, step) => {
    if (Math.abs(at) < step / 2) return "0";
    if (at < 60) return at.toFixed(step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3) + "s";
    const whole = Math.round(at);
    const parts = [[Math.floor(whole / 3600), "h"], [Math.floor(whole / 60) % 60, "m"], [whole % 60, "s"]];
    return parts.filter(([number]) => number).map(([number, unit]) => number + unit).slice(0, 2).join(" ");
  };
  const timeTicks = (most) => {
    const step = tickStep(span / most);
    const first = Math.ceil(data.start / step), count = Math.min(2000, Math.floor(span / step) + 1);
    const times = Array.from({ length: count }, (_, number) => step * (first + number));
    return times.filter((at) => at <= data.end).map((at) => [at, tickLabel(at, step)]);
  };
  // Round sizes from 0 to the first that is not below `top`; powers of two have short labels.
  const byteTicks = (top, most) => {
    let step = 1;
    while (step * most < top) step *= 2;
    return Array.from({ length: Math.max(1, Math.ceil(top / step)) + 1 }, (_, number) => step * number);
  };
  const percent = (share) => `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(3)}%`;
  const across = (at) => percent((at - data.start) / span);

  (() => {
    const canvas = byId("time-canvas");
    if (!canvas) return;
    // A row for each slot, below the name of its machine. Many rows are drawn low, so that all fit on a screen.
    const drawBars = () => {
      const gutter = byId("time-gutter"), isLow = data.slots.flat().length > 60, rowHeight = isLow ? 9 : 20;
      const tops = data.slots.map(() => new Map()), inset = isLow ? 2 : 4;
      let top = 0;
      data.slots.forEach((slots, worker) => {
        draw(gutter, "text", { class: "machine", x: 0, y: top + 18 }, data.workers[worker] || "this machine");
        top += 26;
        for (const slot of slots) {
          tops[worker].set(slot, top);
          if (!isLow) draw(gutter, "text", { class: "slot", x: 20, y: top + 14 }, String(slot + 1));
          const middle = top + rowHeight / 2;
          draw(drawing, "line", { class: "lane", x1: 0, x2: "100%", y1: middle, y2: middle });
          top += rowHeight;
        }
        top += 8;
      });
      gutter.setAttribute("height", top);
      drawing.setAttribute("height", top);
      const bars = document.createDocumentFragment();
      const rects = data.bars.map((bar) => {
        const look = bar[EVICTED] ? "evicted" : data.looks[bar[STATUS]];
        // What went wrong is taller, so that it is seen without colors too.
        const height = rowHeight - inset * (look === "pass" ? 2 : 1);
        const y = tops[bar[WORKER]].get(bar[SLOT]) + (rowHeight - height) / 2;
        return draw(bars, "rect", { class: `is-${look}`, x: across(bar[START]), y, width: percent(bar[LENGTH] / span), height });
      });
      drawing.append(bars);
      return rects;
    };
    const FILE = 0, ATTEMPT = 1, STATUS = 2, START = 3, LENGTH = 4, PEAK = 5, WORKER = 6, SLOT = 7, IS_VERDICT = 8, EVICTED = 9;
    const scroller = byId("time-scroller"), axis = byId("time-axis"), drawing = byId("time-bars"), details = byId("bar-details");
    const rects = drawBars();
    const positions = new Map(rects.map((rect, at) => [rect, at]));
    const most = Math.max(4, Math.min(5000, span * 20));
    let zoom = 1, current = 0;

    const factsOf = (at) => {
      const bar = data.bars[at], file = data.files[bar[FILE]];
      const facts = [data.statuses[bar[STATUS]]];
      if (file[6] > 1) facts.push(`attempt ${bar[ATTEMPT]}${bar[IS_VERDICT] ? ", which counts" : ""}`);
      facts.push(`${seconds(bar[LENGTH])}, from ${seconds(bar[START])} to ${seconds(bar[START] + bar[LENGTH])}`);
      if (bar[PEAK]) facts.push(`${bytes(bar[PEAK])} at most`);
      facts.push(`${data.workers[bar[WORKER]]}${data.workers[bar[WORKER]] ? ", " : ""}slot ${bar[SLOT] + 1}`);
      return [file[0], facts.join(" · ")];
    };
    const describe = (at) => {
      const [label, facts] = factsOf(at);
      const name = element("b", "", label);
      details.replaceChildren(name, element("br"), facts);
    };
    const choose = (at, { focus = true } = {}) => {
      rects[current].setAttribute("tabindex", "-1");
      current = at;
      const rect = rects[at];
      rect.setAttribute("tabindex", "0");
      rect.setAttribute("role", "img");
      rect.setAttribute("aria-label", factsOf(at).join(": "));
      describe(at);
      if (focus) rect.focus();
    };
    const visit = (at) => {
      const file = data.bars[at][FILE];
      if (!openEntry(`file-${file}`, { focus: true })) {
        files.only(data.files[file][0]);
        byId("files").scrollIntoView();
      }
    };
    const lane = (at) => `${data.bars[at][WORKER]}/${data.bars[at][SLOT]}`;
    const neighbor = (step) => {
      // The bar of the next row that is nearest in time.
      let at = current;
      while (data.bars[at] && lane(at) === lane(current)) at += step;
      if (!data.bars[at]) return current;
      const row = lane(at), start = data.bars[current][START];
      let best = at;
      for (; data.bars[at] && lane(at) === row; at += step)
        if (Math.abs(data.bars[at][START] - start) < Math.abs(data.bars[best][START] - start)) best = at;
      return best;
    };
    const drawAxis = () => {
      axis.replaceChildren();
      for (const [at, label] of timeTicks(Math.max(2, axis.clientWidth / 90))) {
        const x = across(at);
        draw(axis, "line", { x1: x, x2: x, y1: 4, y2: 24 });
        if (at - data.start < 0.97 * span) draw(axis, "text", { x, y: 16, dx: 3 }, label);
      }
    };
    const zoomTo = (value) => {
      const middle = (scroller.scrollLeft + scroller.clientWidth / 2) / scroller.scrollWidth;
      zoom = Math.min(Math.max(value, 1), most);
      canvas.style.width = `${zoom * 100}%`;
      drawAxis();
      scroller.scrollLeft = middle * scroller.scrollWidth - scroller.clientWidth / 2;
    };
    byId("zoom-in").addEventListener("click", () => zoomTo(zoom * 2));
    byId("zoom-out").addEventListener("click", () => zoomTo(zoom / 2));
    byId("zoom-fit").addEventListener("click", () => zoomTo(1));
    scroller.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoomTo(zoom * (event.deltaY < 0 ? 1.25 : 0.8));
    }, { passive: false });
    drawing.addEventListener("pointerover", (event) => {
      const at = positions.get(event.target);
      if (at !== undefined) describe(at);
    });
    drawing.addEventListener("focusin", (event) => {
      const at = positions.get(event.target);
      if (at !== undefined && at !== current) choose(at, { focus: false });
      else if (at !== undefined) describe(at);
    });
    drawing.addEventListener("click", (event) => {
      const at = positions.get(event.target);
      if (at !== undefined) choose(at);
    });
    drawing.addEventListener("dblclick", (event) => {
      const at = positions.get(event.target);
      if (at !== undefined) visit(at);
    });
    const keys = {
      ArrowRight: () => choose(Math.min(current + 1, rects.length - 1)),
      ArrowLeft: () => choose(Math.max(current - 1, 0)),
      ArrowDown: () => choose(neighbor(1)),
      ArrowUp: () => choose(neighbor(-1)),
      Home: () => choose(0),
      End: () => choose(rects.length - 1),
      Enter: () => visit(current),
      " ": () => visit(current),
      "+": () => { zoomTo(zoom * 2); rects[current].scrollIntoView({ inline: "center", block: "nearest" }); },
      "-": () => { zoomTo(zoom / 2); rects[current].scrollIntoView({ inline: "center", block: "nearest" }); },
      0: () => zoomTo(1),
    };
    drawing.addEventListener("keydown", (event) => {
      const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    const prompt = [...details.childNodes];
    choose(0, { focus: false });
    details.replaceChildren(...prompt);
    new ResizeObserver(drawAxis).observe(scroller);
  })();

  (() => {
    const chart = byId("memory-chart"), details = byId("memory-details");
    if (!chart) return;
    const [AT, USED, BUDGET, RUNNING] = Array(4).keys();
    const highestOf = (samples, column) => samples.reduce((highest, sample) => Math.max(highest, sample[column]), 0);

    // An area for what was used and a line for the budget. Charts with the same `scale` can be compared.
    const drawCurve = (svg, samples, { height, isSmall, scale, drawsBudget }) => {
      const budget = drawsBudget ? highestOf(samples, BUDGET) : 0;
      const top = Math.max(highestOf(scale, USED), drawsBudget ? highestOf(scale, BUDGET) : 0, 1);
      const sizes = byteTicks(top, isSmall ? 2 : 4);
      const y = (size) => (height - height * size / sizes.at(-1)).toFixed(1);
      const lineAt = (size, name) => draw(svg, "line", { class: name, x1: 0, x2: "100%", y1: +y(size) + 10, y2: +y(size) + 10 });
      svg.setAttribute("height", height + 34);
      sizes.forEach((size) => lineAt(size, "grid"));
      for (const [at, label] of timeTicks(isSmall ? 3 : 5)) {
        const anchor = at <= data.start ? "start" : "middle";
        if (at - data.start < 0.95 * span) draw(svg, "text", { class: "time", x: across(at), y: height + 28, "text-anchor": anchor }, label);
      }
      const plot = draw(svg, "svg", { x: 0, y: 10, width: "100%", height, viewBox: `0 0 1000 ${height}`, preserveAspectRatio: "none" });
      const x = (sample) => (1000 * (sample[AT] - data.start) / span).toFixed(1);
      const curve = samples.map((sample) => `${x(sample)},${y(sample[USED])}`).join(" ");
      draw(plot, "path", { class: "area", d: `M${x(samples[0])},${height} L${curve} L${x(samples.at(-1))},${height} Z` });
      draw(plot, "path", { class: "used", d: `M${curve}`, "vector-effect": "non-scaling-stroke" });
      for (const size of sizes.slice(1)) draw(svg, "text", { class: "size", x: 0, y: +y(size) + 10, dy: 12 }, bytes(size));
      if (!budget) return;
      lineAt(budget, "budget");
      draw(svg, "text", { class: "budget-name", x: "100%", y: +y(budget) + 10, dy: -4, "text-anchor": "end" }, "budget");
    };
    const scale = data.machines.flat(), small = [...document.querySelectorAll(".multiples .chart")];
    drawCurve(chart, data.memory, { height: 180, isSmall: false, scale: data.memory, drawsBudget: data.draws_budget.memory });
    small.forEach((svg, at) =>
      drawCurve(svg, data.machines[at], { height: 72, isSmall: true, scale, drawsBudget: data.draws_budget.machines }));

    const cross = draw(document.createDocumentFragment(), "line", { class: "cross", y1: 10, y2: 190 });
    let current = -1;
    const point = (at) => {
      current = Math.min(Math.max(at, 0), data.memory.length - 1);
      const sample = data.memory[current];
      cross.setAttribute("x1", across(sample[AT]));
      cross.setAttribute("x2", across(sample[AT]));
      chart.append(cross);
      const of = sample[BUDGET] ? ` of ${bytes(sample[BUDGET])}` : "";
      details.replaceChildren(element("b", "", bytes(sample[USED])), `${of} after ${seconds(sample[AT])}, ${counted(sample[RUNNING], "file")} running`);
    };
    chart.setAttribute("tabindex", "0");
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const time = data.start + span * (event.clientX - box.left) / box.width;
      let best = 0;
      data.memory.forEach((sample, at) => {
        if (Math.abs(sample[AT] - time) < Math.abs(data.memory[best][AT] - time)) best = at;
      });
      point(best);
    });
    const highest = () => data.memory.reduce((best, sample, at) => (sample[USED] > data.memory[best][USED] ? at : best), 0);
    chart.addEventListener("focus", () => { if (current < 0) point(highest()); });
    chart.addEventListener("keydown", (event) => {
      const to = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: data.memory.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      point(to);
    });
  })();
})();
