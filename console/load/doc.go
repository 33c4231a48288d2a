// Package load has no code: its tests look at the console, and at the commands that list the
// same, while a great many things wait for a person, on a real RabbitMQ, PostgreSQL and
// Temporal.
//
//	calls_test.go  that a page asks the servers as often among many things as among a few
//	load_test.go   how long pages take among HOLDFAST_ITEMS things: make console-load
//	fill_test.go   the process that makes things which wait, and that has them
//	house_test.go  the servers, the console as a process, and who is logged in there
package load
