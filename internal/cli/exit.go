package cli

import "fmt"

// The exit statuses.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// statusError ends the program with this status; what there is to say was said.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
