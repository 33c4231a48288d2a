package compensation

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
)

// FailedType is the type of the [temporal.ApplicationError] that
// [Stack.RunAfter] returns when something could not be undone. It is not
// retryable: another run of the workflow would not know what is left. Its details
// are a [Report].
const FailedType = "CompensationFailed"

// Report says what was run, in the order in which it was begun.
type Report struct {
	Results []Result `json:"results,omitempty"`
}

// Result is how one compensation ended.
type Result struct {
	// Name is the compensation's; one of a nested stack has that one's name and
	// ": " before it.
	Name string `json:"name"`
	// Error is empty where it succeeded.
	Error string `json:"error,omitempty"`

	err error
}

func failed(name string, err error) Result {
	said := err.Error()
	if said == "" {
		said = fmt.Sprintf("an error of type %T without text", err)
	}
	return Result{Name: name, Error: said, err: err}
}

// Failed returns those that failed, and are still on the stack.
func (r Report) Failed() []Result {
	var out []Result
	for _, x := range r.Results {
		if x.Error != "" {
			out = append(out, x)
		}
	}
	return out
}

// Err joins the errors; nil if all succeeded.
func (r Report) Err() error {
	var errs []error
	for _, x := range r.Failed() {
		err := x.err
		if err == nil { // the report was decoded
			err = errors.New(x.Error)
		}
		errs = append(errs, fmt.Errorf("compensate: %s: %w", x.Name, err))
	}
	return errors.Join(errs...)
}

// String is a line for each compensation.
func (r Report) String() string {
	var b strings.Builder
	for _, x := range r.Results {
		if x.Error == "" {
			fmt.Fprintf(&b, "%s: done\n", x.Name)
		} else {
			fmt.Fprintf(&b, "%s: failed: %s\n", x.Name, x.Error)
		}
	}
	return b.String()
}

// within is the report of a nested stack of that name.
func (r Report) within(name string) Report {
	for i := range r.Results {
		r.Results[i].Name = name + ": " + r.Results[i].Name
	}
	return r
}

// failure is the end of a workflow that failed with cause and could not be undone.
// It wraps neither a cancellation, which would close the workflow as canceled, nor
// the compensations' errors, one of which may be such.
func (r Report) failure(cause error) error {
	text := []string{fmt.Sprintf("%d of %d compensations failed", len(r.Failed()), len(r.Results))}
	for _, x := range r.Failed() {
		text = append(text, x.Name+": "+x.Error)
	}
	o := temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{r}}
	var canceled *temporal.CanceledError
	if errors.As(cause, &canceled) {
		text = append(text, "after: "+cause.Error())
	} else {
		o.Cause = cause
	}
	return temporal.NewApplicationErrorWithOptions(strings.Join(text, "; "), FailedType, o)
}
