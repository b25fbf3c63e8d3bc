const button = event.target.closest("button");
if (button) {
  const head = button.parentNode, body = head.closest("table").tBodies[0], column = head.cellIndex;
  const way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const key = (row) => {
    const cell = row.cells[column], said = cell.dataset.k;
    return said === undefined ? cell.textContent : said === "" ? -1e99 : +said;
  };
  const compared = (one, other) => key(one) < key(other) ? -way : key(one) > key(other) ? way : 0;
  for (const row of Array.from(body.rows).sort(compared)) body.appendChild(row);
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
}
