// The filter of the list: words, and `topic:` and `type:` with `*` for any text. A minus excludes.
//
//   coffee topic:orders/* topic:news -type:ping -"flat white"
//
// Several topics, or several types, are alternatives; everything else has to hold together. Quotes keep spaces, and
// what is between them is literal: `topic:"a *"`.

const TERM = /(-?)(?:(topic|type):)?(?:"((?:[^"\\]|\\.)*)"|(\S+))/g;

export class Filter {
  #terms;

  constructor(text) {
    this.#terms = [...text.matchAll(TERM)].map(([, minus, field, quoted, plain]) => {
      const literal = quoted?.replace(/\\(.)/g, "$1");
      return { excludes: minus === "-", field: field ?? "", literal, plain, test: testOf(field, literal, plain) };
    });
  }

  matches(event) {
    const wanted = {};
    for (const { excludes, field, test } of this.#terms) {
      const holds = test(event);
      if (excludes && holds) return false;
      if (excludes) continue;
      if (!field && !holds) return false;
      if (field) wanted[field] ||= holds;
    }
    return Object.values(wanted).every(Boolean);
  }

  has(field, value, excludes) {
    return this.#terms.some((term) => isTerm(term, field, value, excludes));
  }

  /** The filter's text with this term, or without it if it has it. The opposite term goes. */
  toggled(field, value, excludes) {
    const had = this.has(field, value, excludes);
    const others = this.#terms.filter((term) => ![true, false].some((either) => isTerm(term, field, value, either)));
    const added = had ? [] : [{ excludes, field, literal: value }];
    return [...others, ...added].map(textOf).join(" ");
  }
}

function isTerm(term, field, value, excludes) {
  const names = term.literal ?? (term.plain?.includes("*") ? null : term.plain);
  return term.field === field && term.excludes === excludes && names === value;
}

function testOf(field, literal, plain) {
  const pattern = literal === undefined ? plain.split("*").map(escaped).join(".*") : escaped(literal);
  if (!field) return wordTest(literal ?? plain);
  const expression = new RegExp(`^${pattern}$`, "su");
  if (field === "topic") return ({ topics }) => topics.some((topic) => expression.test(topic));
  return ({ type }) => expression.test(type ?? "");
}

function wordTest(word) {
  const expression = new RegExp(escaped(word), "iu");
  return ({ topics, type, data }) =>
    expression.test(data) || expression.test(type ?? "") || topics.some((topic) => expression.test(topic));
}

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}

function textOf({ excludes, field, literal, plain }) {
  const value = plain ?? (/^[^\s"*\\]+$/.test(literal) ? literal : `"${literal.replace(/["\\]/g, "\\$&")}"`);
  return `${excludes ? "-" : ""}${field ? `${field}:` : ""}${value}`;
}
