// Charts of uPlot over the table that stands beside each: <figure data-chart="table-id" data-kind="bars|line">.
// The first column is the day, the others are series; a heading with data-series is one, and names its colour's number.

/** A colour as it is in the theme that is shown. */
function colour(token, probe) {
  probe.style.color = `var(${token})`;
  return getComputedStyle(probe).color;
}

function read(table) {
  const headings = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const seconds = rows.map((row) => Date.parse(`${row.cells[0].dataset.value}T00:00:00Z`) / 1000);
  const series = headings
    .map((cell, index) => ({ cell, index }))
    .filter(({ cell }) => cell.dataset.series)
    .map(({ cell, index }) => ({
      label: cell.textContent.trim(),
      token: `--chart-${cell.dataset.series}`,
      values: rows.map((row) => Number(row.cells[index].dataset.value)),
    }));
  return { seconds, series };
}

function short(value) {
  return new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

function draw(figure) {
  const table = document.getElementById(figure.dataset.chart);
  if (!table || !globalThis.uPlot) return;
  const { seconds, series } = read(table);
  const probe = document.createElement("span");
  figure.replaceChildren(probe);
  const [text, line] = [colour("--muted", probe), colour("--line", probe)];
  const strokes = series.map((each) => colour(each.token, probe));
  probe.remove();
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: text, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  const bars = figure.dataset.kind === "bars" ? uPlot.paths.bars({ size: [0.7, 40], radius: 0.15 }) : undefined;
  const options = {
    width: figure.clientWidth - 24,
    height: 190,
    tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
    cursor: { y: false, points: { show: !bars } },
    legend: { live: true },
    scales: {
      x: { time: true, range: (_, min, max) => [min - 43200, max + 43200] },
      y: { range: (_, min, max) => [0, max > 0 ? max * 1.08 : 1] },
    },
    axes: [
      { ...axis, grid: { show: false }, values: (_, splits) => splits.map((each) => day.format(each * 1000)), space: 56, size: 28 },
      { ...axis, values: (_, splits) => splits.map(short), size: 46 },
    ],
    series: [
      { label: "Day", value: (_, at) => (at == null ? "" : day.format(at * 1000)) },
      ...series.map((each, index) => ({
        label: each.label,
        stroke: strokes[index],
        fill: bars ? strokes[index] : undefined,
        width: bars ? 0 : 2,
        paths: bars,
        points: { show: false },
        value: (_, value) => (value == null ? "" : value.toLocaleString()),
      })),
    ],
  };
  const chart = new uPlot(options, [seconds, ...series.map((each) => each.values)], figure);
  chart.root.setAttribute("aria-hidden", "true");
  return chart;
}

/** Draw every chart below an element, and again when the theme or the width changes. */
export function drawCharts(root) {
  for (const figure of root.querySelectorAll("[data-chart]")) {
    let chart = draw(figure);
    let width = figure.clientWidth;
    document.addEventListener("themechange", () => {
      chart = draw(figure);
    });
    new ResizeObserver(() => {
      if (!chart || figure.clientWidth === width) return;
      width = figure.clientWidth;
      chart.setSize({ width: width - 24, height: 190 });
    }).observe(figure);
  }
}

drawCharts(document);
