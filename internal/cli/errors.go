package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
)

// usageError is a wrong flag or argument.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// remedyError is an error, and what to do about it.
type remedyError struct {
	err    error
	remedy string
}

func (e remedyError) Error() string { return e.err.Error() + "; " + e.remedy }
func (e remedyError) Unwrap() error { return e.err }

func withRemedy(err error, format string, args ...any) error {
	return remedyError{err, fmt.Sprintf(format, args...)}
}

// lineEnds are what ends a line, with the spaces around it: those inside of a line may
// be part of a command that the error suggests.
var lineEnds = regexp.MustCompile(`\s*[\r\n]\s*`)

// text is an error as one line for a reader of this program's output: without
// the packages' own "holdfast: ".
func text(err error) string {
	s := strings.ReplaceAll(err.Error(), "holdfast: ", "")
	return oneLine(strings.TrimSpace(lineEnds.ReplaceAllString(s, " ")))
}

func printError(w io.Writer, err error) {
	if errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		printf(w, "holdfast: interrupted\n")
		return
	}
	printf(w, "holdfast: %s\n", text(err))
}

// printf writes to a standard stream, whose errors there is nobody to tell.
func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// splitRemedy returns what went wrong, and what to do about it if the error
// knows.
func splitRemedy(err error) (what, remedy string) {
	var unavailable *holdfast.UnavailableError
	var ours remedyError
	switch {
	case errors.As(err, &unavailable):
		remedy = unavailable.Remedy
		plain := *unavailable
		plain.Remedy = ""
		return text(&plain), remedy
	case errors.As(err, &ours):
		return text(ours.err), ours.remedy
	}
	return text(err), ""
}
