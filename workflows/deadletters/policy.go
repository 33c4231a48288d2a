package deadletters

import (
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// death is all that decides what happens by itself to a message that has died.
type death struct {
	policy       holdfast.Policy
	class        holdfast.ErrorClass
	redeliveries int    // so far
	bound        string // why it can neither be redelivered nor compensated; empty: it can
	group        string // that compensates; empty: nobody
}

// verdict is what happens next: to park, to wait for the next redelivery, or to
// compensate.
type verdict struct {
	state workflows.State
	wait  time.Duration // Waits only
	why   string        // Parked: why the policy leaves it to an operator; empty: that is the policy
}

// next says what the policy wants.
func (d death) next() verdict {
	switch d.policy.Action {
	case holdfast.PolicyCompensate:
		return d.compensate()
	case holdfast.PolicyCompensatePermanent:
		if d.class == holdfast.ClassPermanent {
			return d.compensate()
		}
	case holdfast.PolicyRedeliver:
		if d.bound != "" {
			return verdict{state: workflows.Parked, why: "the policy is to redeliver, but " + d.bound}
		}
		if delays := d.policy.Redeliver; d.redeliveries < len(delays) {
			return verdict{state: workflows.Waits, wait: delays[d.redeliveries]}
		}
		return verdict{state: workflows.Parked, why: fmt.Sprintf("redelivered %d times, "+
			"which is all that the policy wants", d.redeliveries)}
	}
	return verdict{state: workflows.Parked}
}

func (d death) compensate() verdict {
	switch {
	case d.bound != "":
		return verdict{state: workflows.Parked, why: "the policy is to compensate, but " + d.bound}
	case d.group == "":
		return verdict{state: workflows.Parked, why: "the policy is to compensate, but " + noGroup}
	}
	return verdict{state: workflows.Compensating}
}

const noGroup = "a foreign publisher sent it: there is no producer group that could"

// firstDeath is what decides about a letter that has just come. One that died in
// a redelivery comes so where the workflow that redelivered it was terminated.
func firstDeath(l holdfast.DeadLetter) death {
	policy := l.Policy
	if policy.Validate() != nil {
		policy = holdfast.Policy{} // parked, not lost
	}
	return death{policy: policy, class: l.Failure.Class, redeliveries: l.Failure.Redelivery, bound: bound(l),
		group: l.Group}
}

// bound says why a letter's message can only be dealt with by hand.
func bound(l holdfast.DeadLetter) string {
	if l.Kept == "" {
		return ""
	}
	return fmt.Sprintf("it has %d bytes, too many for a workflow: the whole of it is in queue %s, to be dealt with "+
		"there", l.Size, l.Kept)
}

// place is where a dead letter stands when its consumer's queue answers.
type place struct {
	state   workflows.State
	current int  // the last redelivery's number
	open    bool // it has not been answered
}

// hearing is what an answer of the consumer's queue means.
type hearing int

const (
	duplicate hearing = iota // a copy, or an answer to an older redelivery: counted
	noted                    // it changes nothing any more, but is worth a line
	decisive                 // handled: the end; died: the policy decides anew
)

// handled says what it means that redelivery n was handled. That is the truth
// whatever n is: a number that is not known is that of a redelivery whose record
// was lost with its worker. But while a later redelivery is under way, its answer
// is awaited.
func (p place) handled(n int) hearing {
	switch {
	case n < 1 || p.state.Final():
		return duplicate
	case p.state == workflows.Compensating:
		return noted
	case p.state == workflows.Redelivering && n < p.current:
		return duplicate
	}
	return decisive
}

// died says what it means that redelivery n died, or, for 0, that a copy of the
// first death came.
func (p place) died(n int) hearing {
	switch {
	case p.state.Final() || n < p.current || n == p.current && !p.open:
		return duplicate
	case p.state == workflows.Compensating:
		return noted
	}
	return decisive
}
