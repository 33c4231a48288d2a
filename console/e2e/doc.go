// Package e2e has no code: its tests look at the console as people do, with a browser, while
// a RabbitMQ, a PostgreSQL, a Temporal and processes of workers run. What goes wrong there
// is brought about for real, found from the console's first page, and mended.
//
// browser.mjs drives Chromium for them: it does what the lines of JSON on its standard
// input say, and answers with such lines.
package e2e
