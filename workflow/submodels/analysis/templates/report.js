"use strict";
const filter = document.getElementById("filter");
const rows = Array.from(document.querySelectorAll("#scores tbody tr"));
const texts = rows.map((row) => row.textContent.toLowerCase());
const shown = document.getElementById("shown");
function apply() {
  const words = filter.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = ["model", "benchmark", "status"].map((key) => [key, filter.elements[key].value]);
  let count = 0;
  rows.forEach((row, i) => {
    const keep = words.every((word) => texts[i].includes(word)) &&
      wanted.every(([key, value]) => value === "" || row.dataset[key] === value);
    row.hidden = !keep;
    count += keep ? 1 : 0;
  });
  shown.textContent = `${count} of ${rows.length} rows`;
}
filter.addEventListener("input", apply);
filter.addEventListener("submit", (event) => event.preventDefault());
apply();
