// Small helpers for pages.

/** Return the element of the page with an id. @param {string} id */
export const byId = (id) => document.getElementById(id);

/** Remove the text that a page shows if its scripts do not run. */
export const started = () => byId("starting").remove();

/** Show a text in the status of the page, which screen readers announce. */
export function tell(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, unknown>} [values] properties; `class`, `for`, `role` and names with a dash are attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, values = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(values))
    if (/-|^class$|^for$|^role$/.test(name)) made.setAttribute(name, value);
    else made[name] = value;
  made.append(...children);
  return made;
}

/** Give a file to the user. @param {Uint8Array} bytes @param {string} name @param {string} type */
export function download(bytes, name, type) {
  const href = URL.createObjectURL(new Blob([bytes], { type }));
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
}

/** Format a bitrate, such as "6 kbit/s". @param {number} bps */
export const kilobits = (bps) => `${new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(bps / 1000)} kbit/s`;
