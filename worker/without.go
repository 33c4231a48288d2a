package worker

import (
	"fmt"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
)

// laneOfSaga begins the keys of Options.Lanes that are lanes of sagas.
const laneOfSaga = "saga/"

// express reports whether the options choose the Express lane for a message.
func (o Options) express() bool {
	if o.Lane == holdfast.Express {
		return true
	}
	for of, lane := range o.Lanes {
		if lane == holdfast.Express && !strings.HasPrefix(of, laneOfSaga) {
			return true
		}
	}
	return false
}

// sends reports whether transactions can be sent: with Temporal, or in the Express
// lane, which goes without.
func (o Options) sends() bool {
	return o.Temporal != nil || o.Group != "" && o.express()
}

// needsTemporal is the error of what, in a worker that has no Temporal client.
// Nothing was run.
func needsTemporal(what string) error {
	return fmt.Errorf("%w: %s needs Options.Temporal, which is not set: set it, and Options.Group; "+
		"without Temporal a worker consumes, and sends in the Express lane (Options.Lane or Options.Lanes)",
		holdfast.ErrInvalid, what)
}

// cannotSend says why nothing can be sent here at all.
func (w *Worker) cannotSend() error {
	return fmt.Errorf("%w: this worker only consumes: to send, set Options.Group, and either Options.Temporal, "+
		"or the Express lane in Options.Lane or Options.Lanes, which goes without Temporal", holdfast.ErrInvalid)
}
