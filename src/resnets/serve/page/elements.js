// Elements of the page.

export const element = (id) => document.getElementById(id);

// A new element with these properties and children.
export function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
