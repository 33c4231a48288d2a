package frame

import "fmt"

// The exit statuses.
const (
	ExitOK    = 0
	ExitError = 1
	ExitUsage = 2
)

// StatusError ends the program with this status; what there is to say was said.
type StatusError int

func (e StatusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
