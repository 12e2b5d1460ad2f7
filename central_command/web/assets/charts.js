// Charts of uPlot over a table of days: <figure data-chart="id of the rows" data-series="name of a column">.
// A heading with that data-series names the series, and its data-colour the colour's number.

const HEIGHT = 190;
const HALF_DAY_S = 43200;

/** A colour as it is in the theme that is shown. */
function colour(token, probe) {
  probe.style.color = `var(${token})`;
  return getComputedStyle(probe).color;
}

function read(body, name) {
  const headings = [...body.parentElement.tHead.rows[0].cells];
  const index = headings.findIndex((cell) => cell.dataset.series === name);
  const rows = [...body.rows].reverse();
  return {
    label: headings[index].textContent.trim(),
    token: `--chart-${headings[index].dataset.colour}`,
    seconds: rows.map((row) => Date.parse(`${row.dataset.day}T00:00:00Z`) / 1000),
    values: rows.map((row) => Number(row.cells[index].dataset.value)),
  };
}

function short(value) {
  return new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

/** Say beside the heading what is under the pointer, and what stood there when it has left. */
function tell(figure, chart, day) {
  const place = figure.closest(".panel")?.querySelector("header .more");
  if (!place) return;
  place.dataset.text ??= place.textContent;
  const index = chart.cursor.idx;
  const [at, value] = [chart.data[0][index], chart.data[1][index]];
  place.textContent = at == null ? place.dataset.text : `${day.format(at * 1000)}: ${value.toLocaleString()}`;
}

function draw(figure) {
  const body = document.getElementById(figure.dataset.chart);
  if (!body || !globalThis.uPlot) return undefined;
  const { label, token, seconds, values } = read(body, figure.dataset.series);
  const probe = document.createElement("span");
  figure.replaceChildren(probe);
  const [text, line, fill] = [colour("--muted", probe), colour("--line", probe), colour(token, probe)];
  probe.remove();
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: text, font, ticks: { show: false } };
  const options = {
    width: figure.clientWidth - 24,
    height: HEIGHT,
    padding: [8, 4, 0, 0],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    legend: { show: false },
    hooks: { setCursor: [(chart) => tell(figure, chart, day)] },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { range: (_, min, max) => [min - HALF_DAY_S, max + HALF_DAY_S] },
      y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] },
    },
    axes: [
      { ...axis, grid: { show: false }, values: (_, at) => at.map((each) => day.format(each * 1000)), space: 60, size: 28 },
      { ...axis, grid: { stroke: line, width: 1 }, values: (_, at) => at.map(short), size: 46, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7] },
    ],
    series: [
      {},
      {
        label,
        stroke: fill,
        fill,
        width: 0,
        paths: uPlot.paths.bars({ size: [0.7, 40], radius: 0.12 }),
        points: { show: false },
      },
    ],
  };
  const chart = new uPlot(options, [seconds, values], figure);
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
      chart.setSize({ width: width - 24, height: HEIGHT });
    }).observe(figure);
  }
}

drawCharts(document);
