// Whether a sighting is believed, and how sure that is: the one place that reads both.

export const isBelieved = ({ believed }) => believed;

/** How sure, in words; empty where there is no probability. */
export const sureness = ({ present }) => (typeof present === "number" ? `${Math.round(100 * present)} % sure` : "");
