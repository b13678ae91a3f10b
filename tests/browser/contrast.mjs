// Contrast ratios as WCAG 2.2 defines them, of every text and of the edge of every control.

/** Runs in the page, so it is whole in itself. What shows only now and then is shown while it is measured. */
export function measureContrasts() {
  const rare = showWhatIsRare();
  const all = [...document.querySelectorAll("body *")].filter(isSeen);
  const texts = all.filter(hasOwnText).map((element) => measure(element, "color", groundOf(element)));
  const fields = all.filter((element) => element.matches("input, textarea, select, button:not(table button)"));
  const edges = fields.map((element) => measure(element, "borderTopColor", groundOf(element.parentElement)));
  for (const element of rare) element.remove();
  return { texts, edges };

  /** The style goes by ids, so a copy keeps the id of its original for as long as it is there. */
  function showWhatIsRare() {
    const states = ["connecting", "live", "cut", "waiting", "ended", "refused"].map((state) => {
      const copy = copyOf("state", state);
      copy.dataset.state = state;
      return copy;
    });
    const answers = ["done", "problem"].map((kind) => Object.assign(copyOf("answer", kind), { className: kind }));
    const tally = copyOf("gaps", "1");
    tally.dataset.some = "true";
    const error = copyOf("publish-topic-error", "wrong");
    const fresh = Object.assign(copyOf("fresh", "Show 1 new event"), { hidden: false });
    return [...states, ...answers, tally, error, fresh, noteRow("gap"), noteRow("resumed")];
  }

  function copyOf(id, text) {
    const copy = document.getElementById(id).cloneNode(false);
    copy.textContent = text;
    document.getElementById(id).after(copy);
    return copy;
  }

  function noteRow(kind) {
    const row = Object.assign(document.createElement("li"), { className: kind, textContent: kind });
    document.getElementById("rows").append(row);
    return row;
  }

  function isSeen(element) {
    return element.getClientRects().length > 0 && getComputedStyle(element).clipPath === "none";
  }

  function hasOwnText(element) {
    return [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  }

  function measure(element, property, ground) {
    const [one, other] = [luminance(getComputedStyle(element)[property]), luminance(ground)];
    const name = `${element.tagName.toLowerCase()} "${(element.id || element.textContent).trim().slice(0, 30)}"`;
    return { name, ratio: (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) };
  }

  function groundOf(element) {
    const { backgroundColor } = getComputedStyle(element);
    return backgroundColor === "rgba(0, 0, 0, 0)" ? groundOf(element.parentElement) : backgroundColor;
  }

  function luminance(colour) {
    const [red, green, blue] = colour.match(/[\d.]+/g).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }
}
