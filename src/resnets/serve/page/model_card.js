// What the page says of the model, and the same requests for programs.

import { element, make } from "./elements.js";
import { hasToken } from "./server.js";

export function describe(model) {
  document.title = `${model.name} · resnets`;
  element("name").textContent = model.name;
  const count = model.class_names.length;
  element("about").textContent = `${model.task}, ${count} ${count === 1 ? "class" : "classes"}`;
  element("models").replaceChildren(...model.models.map((name) => make("option", { textContent: name, selected: name === model.name })));
  element("choice").hidden = model.models.length < 2;
  const lines = {
    Task: model.task,
    Network: model.architecture,
    Classes: model.has_class_names ? model.class_names.join(", ") : `${count}, without names`,
    Input: model.input.description,
    Measured: measured(model.metrics),
    "SHA-256": model.sha256,
    Certificate: certified(model.certificate),
  };
  const shown = Object.entries(lines).filter(([, value]) => value);
  element("model").replaceChildren(...shown.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
  showPrograms(model);
}

function measured(metrics) {
  const numbers = Object.entries(metrics).filter(([, value]) => typeof value === "number");
  const ofVal = numbers.filter(([name]) => name.startsWith("val/")); // a run also notes its step, its learning rate and others
  const shown = (ofVal.length ? ofVal : numbers).map(([name, value]) => `${name} ${+value.toPrecision(4)}`).join(", ");
  return shown && metrics.protocol ? `${shown} (${metrics.protocol})` : shown;
}

function certified(certificate) {
  if (!certificate) return "none; exported files have one";
  const runtimes = (certificate.runtimes ?? []).filter(({ verdict }) => verdict === "passed");
  return `${certificate.verdict}${runtimes.length ? `: ${runtimes.map(({ runtime, version }) => `${runtime} ${version}`).join(", ")}` : ""}`;
}

function showPrograms({ name, models }) {
  const query = name === models[0] ? "" : `?model=${encodeURIComponent(name)}`;
  const url = new URL(`v1/predict${query}`, document.baseURI).href;
  const [flag, headers] = hasToken() ? [" -H 'Authorization: Bearer TOKEN'", ', headers={"Authorization": "Bearer TOKEN"}'] : ["", ""];
  element("curl").textContent = `curl --data-binary @image.jpg${flag} '${url}'`;
  element("python").textContent = `import requests

with open("image.jpg", "rb") as image:
    answer = requests.post("${url}", data=image${headers}, timeout=30)
print(answer.json())
`;
}
