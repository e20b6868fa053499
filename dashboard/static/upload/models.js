// The choice of a model, and for administrators bringing and removing one.

import { address, banner, el, getJson, say, t } from "../core.js";

export class Models {
  constructor(select, about) {
    this.select = select;
    this.about = about;
    this.all = [];
    select.addEventListener("change", () => this.describe());
  }

  get chosen() {
    return this.all.find((model) => model.key === this.select.value) ?? null;
  }

  async load(wanted = this.select.value) {
    this.all = (await getJson(address("/upload/models"))).models;
    const options = this.all.map((model) => el("option", { value: model.key }, model.uploaded ? t("upload.own_model", { name: model.name }) : model.name));
    this.select.replaceChildren(...options);
    if (this.all.some((model) => model.key === wanted)) this.select.value = wanted;
    this.describe();
    this.list();
  }

  describe() {
    const model = this.chosen;
    if (!model) return;
    this.about.textContent = model.calibrated ? "" : t("upload.uncalibrated");
    this.about.classList.toggle("caution", !model.calibrated);
  }

  /** Wire the form that only administrators have. */
  form(form) {
    const status = form.querySelector("[role=status]");
    const button = form.querySelector("button[type=submit]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const file = form.querySelector("input[type=file]").files[0];
      if (!file) return;
      const asked = new URLSearchParams({
        name: file.name,
        classes: form.querySelector("[name=classes]").value,
        scaling: form.querySelector("[name=scaling]").value,
      });
      button.disabled = true;
      status.className = "quiet";
      status.textContent = t("upload.model_checking");
      try {
        const response = await fetch(`${address("/upload/models")}?${asked}`, { method: "POST", body: file });
        const said = await response.json();
        if (!response.ok) throw new Error(said.error);
        status.textContent = t("upload.model_added", { name: said.name });
        form.reset();
        await this.load(said.key);
      } catch (failure) {
        status.className = "problem";
        status.textContent = failure.message;
      } finally {
        button.disabled = false;
      }
    });
    this.own = form.querySelector("#own-models");
    this.list();
  }

  list() {
    this.own?.replaceChildren(
      ...this.all
        .filter((model) => model.uploaded)
        .map((model) => {
          const button = el("button", { type: "button", "aria-label": t("upload.remove_model", { name: model.name }) }, t("upload.remove"));
          button.addEventListener("click", async () => {
            button.disabled = true;
            const response = await fetch(address("/upload/models", model.key), { method: "DELETE" }).catch(() => null);
            if (!response?.ok) {
              button.disabled = false;
              const said = await response?.json().catch(() => null);
              banner("upload", t("common.failed", { problem: said?.error ?? t("upload.connection_lost") }));
              return;
            }
            banner("upload", "");
            say(t("upload.model_removed", { name: model.name }));
            await this.load();
          });
          return el("li", {}, el("span", {}, model.name), button);
        }),
    );
  }
}
