package cli

import (
	"io"
	"os"
	"time"
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

// app is one run of the program.
type app struct {
	Surroundings
	config
	began bool // the arguments are right, and the command itself has begun
}
