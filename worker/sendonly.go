package worker

import (
	"fmt"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
)

// registered says that something was registered in a process that only sends. nil: nothing
// was.
func (w *Worker) registered() error {
	var what []string
	for _, r := range []struct {
		method string
		n      int
	}{{"Consume", len(w.consumers)}, {"Participate", len(w.participants)}, {"Saga", len(w.sagas.defs.All())},
		{"Local", len(w.handlers)}, {"Check", len(w.checkers)}, {"Activity", len(w.activities)},
		{"Compensate", len(w.compensations)}} {
		if r.n > 0 {
			what = append(what, r.method)
		}
	}
	if len(what) == 0 {
		return nil
	}
	return fmt.Errorf("%w: Options.SendOnly excludes %s: register that in the processes of the group "+
		"that do not only send", holdfast.ErrInvalid, strings.Join(what, ", "))
}
