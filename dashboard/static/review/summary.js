// The differential beside the cells under review, and what is done with the sample as a whole: finish, sign.

import { address, banner, el, hold, mayReview, moment, postJson, say, t } from "../core.js";
import { ask, newRequest, remark } from "../cells.js";
import { chartLegend, differentialTable } from "../differential.js";

/**
 * @param {object} of
 *   device, sample: which
 *   operator: () => who acts
 *   failed: (error) => void
 *   changed: () => void: something was done
 */
export function summaryPanel({ device, sample, operator, failed, changed }) {
  let summary = null;
  let busy = ""; // what is on its way to the device

  function show(now) {
    summary = now;
    const parts = [differentialTable(summary.differential.shares), chartLegend(), remark(summary)];
    if (summary.missing) parts.push(el("p", { class: "problem" }, t("review.missing", { count: summary.missing })));
    document.getElementById("differential").replaceChildren(...parts);
    const state = document.getElementById("state");
    state.className = `tag ${summary.signed_by ? "good" : summary.state === "open" ? "" : "watch"}`;
    const at = summary.signed_at && moment(summary.signed_at);
    state.textContent = summary.signed_by
      ? t("review.signed", { operator: summary.signed_by, at })
      : t(`review.${!summary.named ? "day_tag" : summary.state}`);
    showActs();
  }

  function showActs() {
    const acts = [];
    const act = (name, primary, listener, disabled = false) => {
      const button = el("button", { type: "button", class: primary ? "primary" : null, disabled: disabled || Boolean(busy) }, t(busy ? `review.busy_${busy}` : `review.${name}`));
      button.addEventListener("click", listener);
      acts.push(button);
    };
    if (!summary.named) acts.push(el("p", { class: "quiet small" }, t("review.day")));
    else if (mayReview && summary.state === "open") act("finish", true, finish);
    else if (mayReview && summary.signed_by) act("unsign", false, () => sign(true));
    else if (mayReview) {
      const left = summary.differential.undecided > 0;
      act("sign", true, () => sign(false), left);
      if (left) acts.push(el("p", { class: "quiet small" }, t("review.undecided_left")));
    }
    hold(document.getElementById("acts"), ...acts);
  }

  async function finish() {
    const counted = summary.differential;
    const parts = [t("review.finish_sure", { sample })];
    if (summary.target && counted.accepted < summary.target) parts.push(t("review.finish_short", { count: counted.accepted, target: summary.target }));
    if (counted.undecided) parts.push(t("review.finish_undecided", { count: counted.undecided }));
    if (await ask(t("review.finish"), parts.join(" "), t("review.finish_yes"))) await act("finish", {}, t("review.done_finish", { sample }));
  }

  async function sign(undoing) {
    const name = undoing ? summary.signed_by : operator();
    if (!name) {
      banner("act", t("review.name_wanted"));
      document.getElementById("operator")?.focus();
      return;
    }
    const title = t(undoing ? "review.unsign" : "review.sign");
    const text = t(undoing ? "review.unsign_sure" : "review.sign_sure", { sample, operator: name });
    if (await ask(title, text, t(undoing ? "review.unsign_yes" : "review.sign"))) await act("sign", undoing ? { undo: true } : {}, t(undoing ? "review.done_unsign" : "review.done_sign", { sample }));
  }

  async function act(what, said, done) {
    const request = newRequest();
    busy = what;
    showActs();
    try {
      const answer = await postJson(address("/act", device, "sample", sample, what), { ...said, request, operator: operator() });
      banner("act", answer.ok ? "" : answer.message);
      if (answer.ok) say(done);
    } catch (error) {
      failed(error);
    }
    busy = "";
    showActs();
    changed();
  }

  return { show };
}
