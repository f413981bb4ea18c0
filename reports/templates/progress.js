// How old the page is, so that one that nobody writes any more does not look alive
const age = document.querySelector("#age");
const written = Date.parse(document.querySelector("time").dateTime);
function tell() {
  const minutes = Math.floor((Date.now() - written) / 60000);
  const since = minutes < 120 ? `${minutes} minutes` : `${Math.floor(minutes / 60)} hours`;
  const words = `Not updated for ${since}: the workflow has ended or hangs.`;
  age.textContent = minutes < 3 ? "" : words;
}
if (age) {
  tell();
  setInterval(tell, 10000);
}
