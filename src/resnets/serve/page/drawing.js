// Heat maps, boxes and masks over an image. Positions are in pixels of the upright image, as a browser shows it.

const RAISES = [230, 60, 0], LOWERS = [0, 90, 230], WHITE = [255, 255, 255];
const STRONGEST = 0.75, FADED = 0.65; // opacities
const SIDE = 512; // pixels of the longer side of a canvas at most

export const css = (color) => `rgb(${color.join(" ")})`;

// The colors of classes in the figures that resnets draws (src/resnets/report/figures/class_color.py): red, green and blue.
export function classColor(index) {
  const [lightness, saturation] = [[0.46, 0.85], [0.62, 0.9], [0.36, 0.7]][Math.floor(index / 8) % 3];
  const hue = 12 * ((0.58 + 0.618034 * index) % 1);
  const strength = saturation * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map((offset) => {
    const position = (offset + hue) % 12;
    return Math.round(255 * (lightness - strength * Math.max(-1, Math.min(position - 3, 9 - position, 1))));
  });
}

function canvasOf([height, width]) {
  const canvas = document.createElement("canvas");
  const ratio = Math.min(1, SIDE / Math.max(height, width));
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  return canvas;
}

// The two cells next to each pixel of an axis and the weight of the second, or null where the network saw nothing.
function weights(length, cells, start, end) {
  return Array.from({ length }, (_, k) => {
    const position = (((k + 0.5) / length - start) / (end - start)) * cells;
    if (position < 0 || position > cells) return null;
    const place = Math.min(Math.max(position - 0.5, 0), cells - 1);
    const first = Math.min(Math.floor(place), Math.max(cells - 2, 0));
    return [first, Math.min(first + 1, cells - 1), place - first];
  });
}

// What raises the logit of a class in red, what lowers it in blue, white over what the network did not see.
// `limit` is the value of the strongest colors.
export function drawHeatmap({ values, box, size }, limit) {
  const canvas = canvasOf(size);
  const { width, height } = canvas;
  const rows = weights(height, values.length, box[1] / size[0], box[3] / size[0]);
  const columns = weights(width, values[0].length, box[0] / size[1], box[2] / size[1]);
  const pixels = new ImageData(width, height);
  rows.forEach((row, y) => columns.forEach((column, x) => {
    let color = WHITE, opacity = FADED;
    if (row && column) {
      const [top, bottom] = [values[row[0]], values[row[1]]].map((line) => line[column[0]] * (1 - column[2]) + line[column[1]] * column[2]);
      const strength = Math.max(-1, Math.min(1, (top * (1 - row[2]) + bottom * row[2]) / limit));
      color = strength > 0 ? RAISES : LOWERS;
      opacity = STRONGEST * Math.abs(strength);
    }
    pixels.data.set([...color, 255 * opacity], 4 * (y * width + x));
  }));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

export function largestValue(heatmaps) {
  // Not by Math.max(...values): of large images there are more values than a function takes arguments.
  return heatmaps.flatMap(({ values }) => values.flat()).reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) || 1;
}

// The lengths of runs of 0 and 1, in turn, down the columns of a mask, from COCO's text: 5 bits a character, then differences
// to the last but one (cocoapi, `rleFrString`).
function runs(text) {
  const lengths = [];
  for (let place = 0; place < text.length;) {
    let value = 0, shift = 0, bits;
    do {
      bits = text.charCodeAt(place++) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16) value |= -1 << shift;
    lengths.push(lengths.length > 2 ? value + lengths.at(-2) : value);
  }
  return lengths;
}

// Masks [{size, counts, color}] in their colors, the first one on top.
export function drawMasks(masks) {
  const [height, width] = masks[0].size;
  const canvas = canvasOf(masks[0].size);
  const pixels = new ImageData(canvas.width, canvas.height);
  for (const { counts, color } of masks.toReversed()) {
    const mask = new Uint8Array(height * width); // down the columns
    let place = 0;
    runs(counts).forEach((length, k) => {
      mask.fill(k % 2, place, place + length);
      place += length;
    });
    for (let y = 0; y < canvas.height; y++) {
      const row = Math.floor(((y + 0.5) * height) / canvas.height);
      for (let x = 0; x < canvas.width; x++) {
        const column = Math.floor(((x + 0.5) * width) / canvas.width);
        if (mask[column * height + row]) pixels.data.set([...color, 255], 4 * (y * canvas.width + x));
      }
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

// An element for each object {label, box}, to be placed over the image.
export function boxElements(objects, [height, width], colorOf) {
  return objects.map(({ label, box: [left, top, right, bottom] }) => {
    const element = document.createElement("div"), caption = document.createElement("span");
    element.className = top < 0.08 * height ? "box low" : "box";
    Object.assign(element.style, {
      left: `${(100 * left) / width}%`, top: `${(100 * top) / height}%`, borderColor: css(colorOf(label)),
      width: `${(100 * (right - left)) / width}%`, height: `${(100 * (bottom - top)) / height}%`,
    });
    caption.textContent = label;
    caption.style.background = css(colorOf(label));
    element.append(caption);
    return element;
  });
}
