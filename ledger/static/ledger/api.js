// A file of its own, because the Content-Security-Policy allows no scripts inside pages.
"use strict";
const place = document.getElementById("api");
SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  deepLinking: true,
  docExpansion: "none",
  presets: [SwaggerUIBundle.presets.apis],
  supportedSubmitMethods: ["get"],
  validatorUrl: null,
});
