// Where a stream without a position begins.

/** In all spellings of the last event ID that the hub accepts. */
const isSet = ([name, value]) => (/^(earli|lat)est$/.test(name)
  ? !/^(false|0)$/.test(value) : value && /^last([-_]?event[-_]?id)?$/i.test(name));

/** Whether the query leaves it to the hub: then a stream begins with new events, and a page with the oldest. */
export const isStartOpen = (query) => ![...query].some(isSet);
