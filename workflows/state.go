package workflows

// QueryStatus is the name of the query that tells where a workflow stands.
const QueryStatus = "status"

// State is where a transaction or a dead letter stands. A saga has the words of saga/core.
type State string

// The states of a transaction. The last four are final.
const (
	Sending    State = "sending"     // its half message is being stored
	Running    State = "running"     // its local transaction is running
	Waiting    State = "waiting"     // the application is to confirm
	Checking   State = "checking"    // the resolution is unknown and asked for
	Delivering State = "delivering"  // committed, its messages are not all confirmed
	Parked     State = "parked"      // waits for an operator
	Committed  State = "committed"   // delivered
	RolledBack State = "rolled-back" // forgotten
	Refused    State = "refused"     // its half message was not stored; nothing was run
	Left       State = "left"        // goes on in a workflow of its own
)

// The states of a dead letter beside Parked. The last three are final.
const (
	Redelivering State = "redelivering" // back in its queue; the consumer has not answered yet
	Waits        State = "waits"        // until the policy's next redelivery
	Compensating State = "compensating" // the producer group's Compensate runs, or is tried again
	Handled      State = "handled"      // redelivered, and handled
	Compensated  State = "compensated"  // undone, and the notice is published
	Discarded    State = "discarded"    // by an operator
)

// Final reports whether nothing more happens to what is in this state.
func (s State) Final() bool {
	switch s {
	case Committed, RolledBack, Refused, Left, Handled, Compensated, Discarded:
		return true
	}
	return false
}
