package text

import (
	"slices"

	"github.com/holdfastmq/holdfast/internal/shell"
)

// Suggester makes the command lines that the output suggests.
type Suggester struct {
	// said is what --prefix says; empty where the environment says it, which stays
	// as it is for the next command.
	Said string
}

// Command returns a command line of this program: a command such as "dead show", the
// ID of what it is for, if any, and flags with their values.
func (s Suggester) Command(command, id string, flags ...string) string {
	if s.Said != "" {
		flags = append(slices.Clone(flags), "--prefix", s.Said)
	}
	return shell.Holdfast(command, id, flags...)
}

// Code is a command line in backticks, for a sentence.
func (s Suggester) Code(command, id string, flags ...string) string {
	return "`" + s.Command(command, id, flags...) + "`"
}

// WithReason are the flags of a command that acts: the operator writes the reason.
func WithReason(flags ...string) []string { return append(flags, "--reason", shell.Text) }
