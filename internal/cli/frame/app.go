// Package frame is what all commands share: the run of the program with its streams and its
// configuration, exit statuses, the flags and the questions of an action on many things, the
// command that shows one thing, hints at names that were misspelt. It stands on
// internal/operator; the folders of the commands stand on it.
package frame

import (
	"io"
	"os"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/reach"
)

// Surroundings are what a command reads from and writes to.
type Surroundings struct {
	// In, Out and Err are the standard input, output and error.
	In       io.Reader
	Out, Err io.Writer
	// Environ is the environment, as "NAME=value".
	Environ []string
	// Now is the clock, and its location the time zone of what is printed.
	Now func() time.Time
}

// Process returns the surroundings of this process.
func Process() Surroundings {
	return Surroundings{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Now: time.Now}
}

// App is one run of the program.
type App struct {
	Surroundings
	reach.Config
	Began bool // the arguments are right, and the command itself has begun
}
