// What the console does in the browser beyond its theme. Every page works without it.
"use strict";
