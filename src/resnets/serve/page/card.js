// An image with its answer: what is drawn over the image, the words, and a bar for each class or object.

import { barText } from "./answers.js";
import { boxElements, classColor, css, drawHeatmap, drawMasks, largestValue } from "./drawing.js";
import { make } from "./elements.js";
import { predict } from "./server.js";

const MOST_REM = 26; // height of an image

// A list of bars {label, value, color}. With `choose`, they are buttons: it is called with the index of the bar that is pressed
// or pointed at, and with null when there is none any more.
export function barList(bars, choose = null, pressed = null) {
  const lines = bars.map(({ label, value, color }) => {
    const name = make("b", { textContent: label });
    if (color) {
      const swatch = make("i", { className: "swatch" });
      swatch.style.background = css(color);
      name.prepend(swatch);
    }
    const line = make(choose ? "button" : "div", { className: "line" }, name, make("span", { textContent: value === undefined ? "" : barText(value) }));
    const length = make("i");
    length.style.width = `${100 * Math.max(0, Math.min(1, value ?? 0))}%`;
    return [line, make("li", {}, length, line)];
  });
  const list = make("ol", { className: "bars" }, ...lines.map(([, item]) => item));
  if (!choose) return list;
  const press = (index) => {
    pressed = index;
    lines.forEach(([line], k) => line.setAttribute("aria-pressed", k === index));
    choose(index);
  };
  lines.forEach(([line], index) => {
    Object.assign(line, { type: "button", onpointerenter: () => choose(index), onpointerleave: () => choose(pressed) });
    line.onclick = () => press(index === pressed ? null : index);
  });
  press(pressed);
  return list;
}

// What is drawn over an image or a video of an answer, in `view`, and the list of its bars.
export class Drawing {
  constructor(view, over, model) {
    Object.assign(this, { view, over, model });
  }

  clear() {
    this.over.replaceChildren();
    this.over.className = "over";
    this.view.querySelector("canvas")?.remove();
    this.view.firstElementChild.style.filter = "";
  }

  colorOf(label) {
    return classColor(Math.max(0, this.model.class_names.indexOf(label)));
  }

  // Elements for an answer of any task.
  show(answer, bars) {
    this.clear();
    if (answer.objects?.length) return this.showObjects(answer, bars);
    if (answer.masks?.length) {
      const colored = bars.map((bar) => ({ ...bar, color: this.colorOf(bar.label) }));
      return [barList(colored), this.slider("Classes", 60, this.showMasks(answer.masks))];
    }
    return [barList(bars)];
  }

  showObjects({ objects, size }, bars) {
    const colorOf = (label) => this.colorOf(label);
    const boxes = boxElements(objects, size, colorOf);
    const masked = objects.filter(({ mask }) => mask).map(({ label, mask }) => ({ ...mask, label }));
    const slider = masked.length ? [this.slider("Masks", 45, this.showMasks(masked))] : [];
    this.over.append(...boxes);
    const list = barList(bars.map((bar) => ({ ...bar, color: this.colorOf(bar.label) })), (index) => {
      boxes.forEach((box, k) => box.classList.toggle("shown", k === index));
      this.over.classList.toggle("chosen", index !== null);
    });
    return [list, ...slider];
  }

  showMasks(masks) {
    return this.put(drawMasks(masks.map((mask) => ({ ...mask, color: this.colorOf(mask.label) }))));
  }

  // Elements for the heat maps of an answer: its bars, which choose the class, and a slider. The map of `label` is shown.
  showHeatmaps(heatmaps, bars, label = heatmaps[0].label) {
    this.clear();
    const limit = largestValue(heatmaps);
    const canvases = heatmaps.map((heatmap) => drawHeatmap(heatmap, limit));
    const slider = this.slider("Heat map", 100, this.put(canvases[0]), true);
    const scale = limit.toPrecision(3);
    const note = make("p", { className: "quiet", textContent: `Press a class for its map. Red raises its logit, blue lowers it; the strongest colors are ±${scale} in all maps of this image.` });
    const found = bars.filter((bar) => heatmaps.some((each) => each.label === bar.label));
    const rest = bars.filter((bar) => !found.includes(bar));
    const choose = (index) => this.put(canvases[heatmaps.findIndex(({ label }) => label === found[index ?? 0].label)]);
    const list = barList(found, choose, found.findIndex((each) => each.label === label));
    return [list, ...(rest.length ? [barList(rest)] : []), slider, note];
  }

  // The canvas over the image, in place of the one before, whose opacity it takes.
  put(canvas) {
    const before = this.view.querySelector("canvas");
    if (before) {
      canvas.style.opacity = before.style.opacity;
      before.replaceWith(canvas);
    } else {
      this.over.before(canvas);
    }
    return canvas;
  }

  slider(title, value, canvas, gray = false) {
    const input = make("input", { type: "range", min: 0, max: 100, value });
    input.oninput = () => {
      this.view.querySelector("canvas").style.opacity = input.value / 100;
      if (gray) this.view.firstElementChild.style.filter = `grayscale(${input.value}%)`;
    };
    this.put(canvas);
    input.oninput();
    return make("label", { className: "slider" }, title, input);
  }
}

export class Card {
  // `item` has `file`, `name` and `url`, and gets `answer` or `error`.
  constructor(item, model, read, { onRemove, onAgain }) {
    Object.assign(this, { item, model, read, onAgain });
    const over = make("div", { className: "over" });
    const image = this.image = make("img", { src: item.url, alt: item.name });
    const view = make("figure", { className: "view" }, image, over);
    image.onerror = () => view.replaceWith(make("p", { className: "quiet", textContent: "This browser cannot show this file." }));
    // As wide as its column, or as its height allows.
    image.onload = () => { view.style.width = `min(100%, ${(MOST_REM * image.naturalWidth) / image.naturalHeight}rem)`; };
    this.drawing = new Drawing(view, over, model);
    this.content = make("div");
    const remove = make("button", { type: "button", className: "remove", textContent: "×", onclick: onRemove, ariaLabel: `Remove ${item.name}` });
    const header = make("header", {}, make("h3", { textContent: item.name }), remove);
    this.element = make("article", { className: "answer", ariaLabel: item.name }, view, make("div", {}, header, this.content));
    this.update();
  }

  update() {
    const { answer, error, again } = this.item;
    if (error) {
      const button = make("button", { type: "button", textContent: "Try again", onclick: this.onAgain });
      this.content.replaceChildren(make("p", { className: "wrong", textContent: error }), ...(again ? [button] : []));
    } else if (!answer) {
      this.content.replaceChildren(make("p", { className: "quiet", textContent: "Waiting for the answer …" }));
    } else {
      this.parts = make("div", {}, ...this.drawing.show(answer, this.read.bars(answer)));
      if (this.model.heatmap) this.parts.append(make("button", { type: "button", textContent: "Heat map", onclick: ({ target }) => this.openHeatmap(target) }));
      this.content.replaceChildren(
        make("p", { className: "sentence", textContent: this.read.sentence(answer) }),
        ...[this.read.note(answer)].filter(Boolean).map((textContent) => make("p", { className: "quiet", textContent })),
        this.parts,
      );
    }
  }

  async openHeatmap(button) {
    button.disabled = true;
    try {
      const { heatmaps } = await predict(this.item.file, { model: this.model.name, heatmap: 1 });
      this.showHeatmaps(heatmaps, this.read.bars(this.item.answer));
      this.parts.querySelector("input").focus();
    } catch (error) {
      button.replaceWith(make("p", { className: "wrong", textContent: error.message }));
    }
  }

  showHeatmaps(heatmaps, bars, label) {
    const elements = this.drawing.showHeatmaps(heatmaps, bars, label);
    const others = this.model.class_names.filter((name) => !heatmaps.some((each) => each.label === name));
    this.parts.replaceChildren(...elements, ...(others.length ? [this.chooser(others, heatmaps, bars)] : []));
  }

  // A list of the classes that have no map yet; the one that is chosen gets a map, and a bar.
  chooser(names, heatmaps, bars) {
    const select = make("select", {}, make("option", { textContent: "Choose a class" }), ...names.map((textContent) => make("option", { textContent })));
    const chooser = make("label", { className: "slider" }, "Another class", select);
    select.onchange = async () => {
      const label = names[select.selectedIndex - 1];
      if (label === undefined) return;
      select.disabled = true;
      try {
        const options = { model: this.model.name, heatmap_class: label, ...this.read.options(this.model.class_names) };
        const answer = await predict(this.item.file, options);
        const bar = this.read.bars(answer).find((each) => each.label === label) ?? { label };
        this.showHeatmaps([...heatmaps, ...answer.heatmaps], bars.some((each) => each.label === label) ? bars : [...bars, bar], label);
        this.parts.querySelector("[aria-pressed=true]").focus();
      } catch (error) {
        chooser.replaceWith(make("p", { className: "wrong", textContent: error.message }));
      }
    };
    return chooser;
  }
}
