// Package cli is the command tree of the program holdfast: Main and the root command.
//
// A command reads its configuration from the environment and its flags, asks
// RabbitMQ, PostgreSQL or Temporal, and writes a table, or JSON where --json is
// given, to the standard output. Errors go to the standard error, with what to
// do about them. The exit status is 0, 1 for an error, 2 for a wrong usage.
//
// Each noun has a folder with its commands: tx, dead, saga, half, doctor (with
// waiting and retry-now), dev (with demo), setup (topology, migrate, consumers,
// keep, version). frame is what they share. What a command does, without its
// flags and its streams, is in internal/operator, in a room of the same noun.
package cli
