// What an answer of the server says: its fields are those of `resnets predict --jsonl`.

const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;
const MOST_NAMED = 4; // classes in a sentence

function counted(objects) {
  const counts = new Map();
  for (const { label } of objects) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].sort().map(([label, count]) => `${count} × ${label}`).join(", ") || "nothing found";
}

function named(pairs) {
  const shown = pairs.slice(0, MOST_NAMED).map(([label, value]) => `${label} ${percent(value)}`).join(", ");
  return pairs.length > MOST_NAMED ? `${shown}, and ${pairs.length - MOST_NAMED} more` : shown;
}

// Of each task: `sentence` is the answer in words, `bars` its parts with values of 0 to 1; `columns` and `cells` make the CSV
// table of `resnets predict --csv`. `options` are parameters of a request whose answer has the probabilities of all these classes.
const TASKS = {
  classification: {
    options: (classNames) => ({ top_k: classNames.length }),
    sentence: (answer) => `${answer.label} ${percent(answer.probability)}`,
    bars: (answer) => answer.top.map(({ label, probability }) => ({ label, value: probability })),
    note: (answer) => (answer.probability < 0.5 ? "Unsure: no class has half of the probability." : ""),
    columns: (answers) => {
      const ranks = Math.max(1, ...answers.map((answer) => answer.top?.length ?? 0));
      const others = Array.from({ length: ranks - 1 }, (_, k) => [`label_${k + 2}`, `probability_${k + 2}`]);
      return ["path", "label", "probability", "error", ...others.flat()];
    },
    cells: (answer) => Object.fromEntries(answer.top.flatMap(({ label, probability }, k) => {
      const suffix = k ? `_${k + 1}` : "";
      return [[`label${suffix}`, label], [`probability${suffix}`, probability.toFixed(6)]];
    })),
  },
  multilabel: {
    sentence: (answer) => named(answer.labels.map(({ label, probability }) => [label, probability])) || "no label",
    bars: (answer) => (answer.labels.length ? answer.labels : [answer.top]).map(({ label, probability }) => ({ label, value: probability })),
    note: (answer) => (answer.labels.length ? "" : "No class reaches its threshold; this is the nearest one."),
    columns: () => ["path", "labels", "probabilities", "error"],
    cells: ({ labels }) => ({
      labels: labels.map(({ label }) => label).join("|"),
      probabilities: labels.map(({ probability }) => probability.toFixed(6)).join("|"),
    }),
  },
  detection: {
    sentence: (answer) => counted(answer.objects),
    bars: (answer) => answer.objects.map(({ label, score }) => ({ label, value: score })),
    columns: () => ["path", "count", "objects", "error"],
    cells: ({ objects }) => ({ count: objects.length, objects: JSON.stringify(objects) }),
  },
  segmentation: {
    sentence: (answer) => named(Object.entries(answer.areas)),
    bars: (answer) => Object.entries(answer.areas).map(([label, value]) => ({ label, value })),
    columns: () => ["path", "areas", "error"],
    cells: ({ areas }) => ({ areas: JSON.stringify(areas) }),
  },
};

const OTHER = {
  sentence: (answer) => JSON.stringify(answer),
  bars: () => [],
  columns: () => ["path", "prediction", "error"],
  cells: (answer) => ({ prediction: JSON.stringify(answer) }),
};

// How answers of a task are read; those of a task of somebody's own are shown as they are.
export const reader = (task) => ({ note: () => "", options: () => ({}), ...(TASKS[task] ?? OTHER) });

export const barText = percent;

// A CSV table of items {name, answer, error}.
export function csv(items, { columns, cells }) {
  const names = columns(items.flatMap(({ answer }) => answer ?? []));
  const rows = items.map(({ name, answer, error }) => ({ path: name, error, ...(answer && cells(answer)) }));
  return [names, ...rows.map((row) => names.map((column) => row[column] ?? ""))].map((row) => `${row.map(quoted).join(",")}\n`).join("");
}

function quoted(cell) {
  return /[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell);
}
