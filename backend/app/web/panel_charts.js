// One small chart per flow: what is in flight and who waits, under the limit. Drawn by uPlot.
import { said } from "/web/panel_format.js";

const SPAN_S = 300;
const LEAST_SPAN_S = 60;
const OFF_SCALE = 12;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
// The value of a colour in force: the property itself holds one for light and one for dark.
const probe = document.createElement("span");
probe.hidden = true;

function color(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

export class Chart {
  constructor(node, isBatch, asMs) {
    this.node = node;
    this.isBatch = isBatch;
    this.asMs = asMs;
    this.data = [[], [], [], []];
    this.plot = null;
    this.drawnS = 0;
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(node);
    dark.addEventListener("change", () => this.rebuild());
  }

  // For a batch flow the area is the mean size of a batch; else what is in flight.
  add(atS, value, inflight, waiting, batch) {
    const [times, limits, areas, lines] = this.data;
    const lastS = times.at(-1);
    if (lastS !== undefined && atS <= lastS) return;
    if (lastS !== undefined && atS - lastS > 5) {
      times.push(lastS + 1);
      for (const series of [limits, areas, lines]) series.push(null);
    }
    times.push(atS);
    limits.push(this.asMs ? value * 1000 : value);
    areas.push(this.isBatch ? batch ?? 0 : inflight);
    lines.push(waiting);
    while (times.length && times[0] < atS - SPAN_S) for (const series of this.data) series.shift();
  }

  limitFits() {
    const used = Math.max(1, ...this.data[2].filter(Number.isFinite), ...this.data[3].filter(Number.isFinite));
    return (this.data[1].at(-1) ?? 0) <= OFF_SCALE * used;
  }

  draw() {
    const nowS = this.data[0].at(-1);
    if (!nowS || (calm.matches && nowS - this.drawnS < 5 && this.plot)) return;
    this.drawnS = nowS;
    const fits = this.limitFits();
    const shown = [this.data[0], fits ? this.data[1] : this.data[1].map(() => null), this.data[2], this.data[3]];
    if (!this.plot) this.build(shown);
    else this.plot.setData(shown);
  }

  size() {
    return { width: Math.max(120, this.node.clientWidth), height: 118 };
  }

  rebuild() {
    this.plot?.destroy();
    this.plot = null;
    this.drawnS = 0;
    this.draw();
  }

  build(shown) {
    const axis = { stroke: color("--quiet"), font: "11px system-ui, sans-serif", ticks: { show: false }, grid: { stroke: color("--grid"), width: 1 } };
    const options = {
      ...this.size(), legend: { show: false }, cursor: { show: false }, padding: [6, 20, 0, 0],
      scales: {
        x: { time: true, range: (_, min, max) => [max - spanOf(min, max), max] },
        y: { range: (_, __, max) => [0, Math.max(2, max * 1.12)] },
      },
      axes: [
        { ...axis, size: 20, gap: 3, space: 70, values: (_, marks) => marks.map((mark) => clock(mark, shown)), splits: (plot) => marksOf(plot.scales.x.min, plot.scales.x.max) },
        { ...axis, size: 38, gap: 4, space: 28, incrs: [0.5, 1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000, 50000] },
      ],
      series: [
        {},
        { stroke: color("--series-limit"), width: 1.5, dash: [5, 4], paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
        { stroke: color("--series-inflight"), fill: color("--fill"), width: 1.25, points: { show: false } },
        { stroke: color("--series-waiting"), width: 2, points: { show: false } },
      ],
    };
    this.plot = new uPlot(options, shown, this.node);
  }
}

// As much as there is, in whole minutes, so that a page just opened is not mostly empty.
function spanOf(minS, maxS) {
  return Math.min(SPAN_S, Math.max(LEAST_SPAN_S, 60 * Math.ceil((maxS - minS) / 60)));
}

function marksOf(minS, maxS) {
  const span = maxS - minS;
  const step = span <= 60 ? 20 : 60;
  return Array.from({ length: Math.floor(span / step) + 1 }, (_, index) => maxS - index * step).reverse().filter((mark) => mark > minS + step / 3);
}

function clock(markS, shown) {
  const backS = Math.round((shown[0].at(-1) ?? markS) - markS);
  if (backS <= 0) return said().justNow;
  return backS % 60 ? `−${backS} s` : `−${backS / 60} min`;
}
