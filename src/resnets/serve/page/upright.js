// An image as the server sees it. Chromium turns a JPEG, PNG or AVIF as its file says, but shows a WebP as it is stored.

const SIDE = 2048; // pixels of the longer side of what is shown in place of a file at most
// By the orientation of EXIF, how x and y of the upright image come from those of the stored one: as in `transform` of a canvas.
const TURNS = [[-1, 0, 0, 1], [-1, 0, 0, -1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0], [0, -1, -1, 0], [0, -1, 1, 0]];
const ORIENTATION = 0x112; // the tag of EXIF

// The file, or what to show in its place.
export async function upright(file) {
  try {
    const head = new DataView(await file.slice(0, 12).arrayBuffer());
    if (text(head, 0) !== "RIFF" || text(head, 8) !== "WEBP") return file;
    const view = new DataView(await file.arrayBuffer());
    const chunk = findExif(view);
    const turn = chunk && TURNS[orientation(view, chunk + 8) - 2];
    if (!turn) return file;
    view.setUint32(chunk, 0x2d2d2d2d); // another name, so that no browser turns it as well
    return await drawn(await createImageBitmap(new Blob([view], { type: "image/webp" })), turn) ?? file;
  } catch {
    return file; // its answer says what is wrong with it, or it is too large to be drawn
  }
}

const text = (view, place) => String.fromCharCode(...[0, 1, 2, 3].map((offset) => view.getUint8(place + offset)));

// Where the chunk begins: its name, its length and the EXIF data (https://developers.google.com/speed/webp/docs/riff_container).
function findExif(view) {
  for (let place = 12; place + 8 <= view.byteLength;) {
    if (text(view, place) === "EXIF") return place;
    const length = view.getUint32(place + 4, true);
    place += 8 + length + (length % 2);
  }
  return null;
}

// 1 to 8; the data are a TIFF, before which some programs write "Exif" and two zeros.
function orientation(view, start) {
  const base = text(view, start) === "Exif" ? start + 6 : start;
  const isLittle = view.getUint16(base) === 0x4949;
  const table = base + view.getUint32(base + 4, isLittle);
  const count = view.getUint16(table, isLittle);
  for (let place = table + 2; place < table + 2 + 12 * count; place += 12) {
    if (view.getUint16(place, isLittle) === ORIENTATION) return view.getUint16(place + 8, isLittle);
  }
  return 1;
}

function drawn(bitmap, [a, b, c, d]) {
  const { width, height } = bitmap;
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  const sides = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  [canvas.width, canvas.height] = a ? sides : sides.reverse();
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.transform(a, b, c, d, a < 0 ? width : c < 0 ? height : 0, b < 0 ? width : d < 0 ? height : 0);
  context.drawImage(bitmap, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve));
}
