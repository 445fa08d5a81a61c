// A line that follows the pointer through all lanes and says the time under it.
const chart = document.getElementById("chart");
const cursor = document.getElementById("cursor");
const { left, right, wall } = chart.dataset;
chart.addEventListener("pointermove", (event) => {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
  const part = (at.x - left) / (right - left);
  const inside = part >= 0 && part <= 1;
  cursor.setAttribute("visibility", inside ? "visible" : "hidden");
  cursor.setAttribute("transform", `translate(${at.x} 0)`);
  const ms = (part * wall) / 1e6;
  cursor.lastElementChild.textContent = ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(3)} s`;
});
chart.addEventListener("pointerleave", () => cursor.setAttribute("visibility", "hidden"));
