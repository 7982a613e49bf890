// How sure it is that a sighting shows the thing: the one place that reads `present`, which is a
// probability, or whether the score reaches what the preset takes for believable.

const LEAST = 0.5;

export const isBelieved = ({ present }) => Number(present) >= LEAST;

/** How sure, in words; empty where there is no probability. */
export const sureness = ({ present }) => (typeof present === "number" ? `${Math.round(100 * present)} % sure` : "");
