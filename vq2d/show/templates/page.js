const cards = [...document.querySelectorAll(".card")];
const buttons = [...document.querySelectorAll(".bar button")];
const list = document.querySelector("main");
for (const button of buttons) button.onclick = () => {
  const wanted = button.dataset.show;
  for (const b of buttons) b.setAttribute("aria-pressed", String(b === button));
  for (const c of cards) c.hidden = wanted !== "all" && c.dataset.status !== wanted;
};
const value = (card, key) => card.dataset[key] === "" ? -Infinity : Number(card.dataset[key]);
document.querySelector(".bar select").onchange = event => {
  const [key, sign] = event.target.value.split(" ");
  const order = (a, b) => Number(sign) * (value(a, key) - value(b, key) || 0)
    || value(a, "order") - value(b, "order");
  list.append(...[...cards].sort(order));
};
