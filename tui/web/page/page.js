"use strict";

// textual.js, which is loaded before this, begins in window.onload. It measures its font then, so
// the font must be there.
const begin = window.onload;
const FACES = ["", "bold ", "italic ", "italic bold "].map((face) => `${face}16px "Roboto Mono"`);

let focused = null;

function follow() {
  const { classList } = document.body;
  let wanted = null;
  if (classList.contains("-closed")) {
    wanted = document.querySelector("#ended button");
  } else if (classList.contains("-loaded")) {
    wanted = document.querySelector(".xterm-helper-textarea");
  }
  if (wanted !== focused) {
    focused = wanted;
    wanted.focus();
  }
}

window.onload = async (event) => {
  // The token has done its work.
  history.replaceState(null, "", "/");
  const terminal = document.getElementById("terminal");
  terminal.dataset.sessionWebsocketUrl = `ws://${location.host}/ws`;
  document.querySelector("#ended button").onclick = () => location.assign("/");
  new MutationObserver(follow).observe(document.body, { attributeFilter: ["class"] });
  await Promise.allSettled(FACES.map((face) => document.fonts.load(face)));
  begin(event);
};
