for (const each of document.querySelectorAll("figure[data-plot]")) readable(each);
const cells = document.getElementById("cells");
if (cells?.querySelector("script")) sortable(cells);
