// A labelled slider that shows its value.

/**
 * Add a slider to `parent`.
 * @param {HTMLElement} parent
 * @param {{id: string, label: string, max: number, min?: number, step?: number, value?: number}} values
 * @param {(value: number) => string} shown text of a value, with its unit
 * @param {(value: number) => void} changed is called when the user moves the slider
 * @returns {{value: number, max: number}} the slider; both may be set
 */
export function addSlider(parent, { id, label, max, min = 0, step = 1, value = min }, shown, changed) {
  const row = document.createElement("div"), name = document.createElement("label");
  const input = document.createElement("input"), output = document.createElement("output");
  row.className = "slider";
  name.htmlFor = input.id = id;
  name.textContent = label;
  output.htmlFor = id;
  Object.assign(input, { type: "range", min, max, step, value });
  row.append(name, input, output);
  parent.append(row);
  const show = () => {
    output.value = shown(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.value);
  };
  input.addEventListener("input", () => {
    show();
    changed(input.valueAsNumber);
  });
  show();
  return {
    get value() {
      return input.valueAsNumber;
    },
    set value(number) {
      input.value = number;
      show();
    },
    set max(number) {
      input.max = number;
      show();
    },
  };
}
