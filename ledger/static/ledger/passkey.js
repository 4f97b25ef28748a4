"use strict";
// Adds or uses a passkey: asks the server for options, the browser for an answer, and takes that back to the server.
(() => {
  const box = document.getElementById("passkey");
  const csrf = document.querySelector("[name=csrfmiddlewaretoken]").value;

  async function post(address, body) {
    const headers = { "Content-Type": "application/json", "X-CSRFToken": csrf };
    const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify(body) });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    return said;
  }

  async function run() {
    const options = await post(box.dataset.options, {});
    const adding = box.dataset.step === "add";
    const publicKey = adding
      ? PublicKeyCredential.parseCreationOptionsFromJSON(options)
      : PublicKeyCredential.parseRequestOptionsFromJSON(options);
    const made = await (adding ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
    const label = box.querySelector("[name=label]")?.value;
    const said = await post(box.dataset.address, { credential: made.toJSON(), label });
    if (said.codes?.length) {
      const codes = document.getElementById("codes");
      codes.querySelector("pre").textContent = said.codes.join("\n");
      codes.hidden = false;
      codes.scrollIntoView();
    } else {
      window.location.assign(said.next);
    }
  }

  box.querySelector("button").addEventListener("click", (event) => {
    event.preventDefault();
    const words = box.querySelector("[role=alert]");
    words.textContent = "";
    run().catch((error) => { words.textContent = error.message; });
  });
})();
