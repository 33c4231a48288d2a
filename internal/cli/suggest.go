package cli

import (
	"slices"

	"github.com/holdfastmq/holdfast/internal/shell"
)

// suggester makes the command lines that the output suggests.
type suggester struct {
	// said is what --prefix says; empty where the environment says it, which stays
	// as it is for the next command.
	said string
}

// command returns a command line of this program: a command such as "dead show", the
// ID of what it is for, if any, and flags with their values.
func (s suggester) command(command, id string, flags ...string) string {
	if s.said != "" {
		flags = append(slices.Clone(flags), "--prefix", s.said)
	}
	return shell.Holdfast(command, id, flags...)
}

// code is a command line in backticks, for a sentence.
func (s suggester) code(command, id string, flags ...string) string {
	return "`" + s.command(command, id, flags...) + "`"
}

// withReason are the flags of a command that acts: the operator writes the reason.
func withReason(flags ...string) []string { return append(flags, "--reason", shell.Text) }
