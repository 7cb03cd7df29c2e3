// Returns what is wrong with a page: parts outside of the window, without size or cut, tables that must be scrolled in a
// narrow window, and charts with overlapping texts, with nothing drawn in them, or without space.
() => {
  const found = [];
  const told = (node, what) => found.push(`${what}: ${node.tagName} ${node.id || node.className} ${node.textContent.trim().slice(0, 40)}`);
  const width = document.documentElement.clientWidth;
  const scrolls = (node) => node.closest(".scroll, .console, .skip, svg") !== null;
  const seen = (node) => node.checkVisibility({ visibilityProperty: true });
  if (document.documentElement.scrollWidth > width) found.push(`the page scrolls to ${document.documentElement.scrollWidth}`);
  for (const node of document.querySelectorAll("main *, nav a")) {
    if (!seen(node) || scrolls(node) || node.closest("thead, option, datalist, meter")) continue;
    const box = node.getBoundingClientRect();
    if (box.right > width + 0.5 || box.left < -0.5) told(node, "outside");
    const shown = node.matches("td, section, .tile, .chart, .timeline-chart, button, input, select, img, figure, .spark, nav a");
    if (shown && (box.width < 1 || box.height < 1)) told(node, "without size");
  }
  for (const node of document.querySelectorAll("td, .tile, .badge, button, nav a, h1, h2, dd, dt")) {
    if (!seen(node) || node.closest("thead, .skip")) continue;
    const text = document.createRange();
    text.selectNodeContents(node);
    const box = node.getBoundingClientRect(), inner = text.getBoundingClientRect();
    if (inner.right > box.right + 1.5 || inner.bottom > box.bottom + 3) told(node, "cut");
  }
  for (const node of document.querySelectorAll(".scroll")) {
    if (seen(node) && innerWidth < 760 && node.scrollWidth > node.clientWidth + 1) told(node, "scrolls");
  }
  for (const chart of document.querySelectorAll(".js-plotly-plot")) {
    if (!seen(chart)) continue;
    const size = chart._fullLayout._size;
    const texts = [...chart.querySelectorAll(".annotation-text, .legendtext, .xtick text, .ytick text, .ytitle, .xtitle, .y2title")]
      .filter((node) => node.textContent.trim()).map((node) => [node, node.getBoundingClientRect()]).filter(([, box]) => box.width);
    for (const [index, [one, a]] of texts.entries()) {
      if (a.left < chart.getBoundingClientRect().left - 1 || a.right > chart.getBoundingClientRect().right + 1) told(one, "outside of its chart");
      for (const [other, b] of texts.slice(index + 1)) {
        const [wide, high] = [Math.min(a.right, b.right) - Math.max(a.left, b.left), Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)];
        if (wide > 2 && high > 3) found.push(`texts overlap: ${one.textContent} and ${other.textContent}`);
      }
    }
    const lines = [...chart.querySelectorAll("path.js-line")].filter((path) => path.getTotalLength() > 5);
    const points = [...chart.querySelectorAll(".scatterlayer .point, .barlayer .point path")].filter((node) => node.getBoundingClientRect().width > 0.5);
    if (!lines.length && !points.length) told(chart, "nothing is drawn");
    if (size.w < 100 || size.h < 60) told(chart, "the chart is small");
  }
  return found;
}
