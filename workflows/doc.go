// Package workflows has what Holdfast's Temporal workflows share: their IDs and task
// queues, states, search attributes, what operators' actions have in common, and the
// texts that Temporal's UI shows. The workflows themselves are in its folders:
// transactions, deadletters, sagas and sagacohort, which import it, and not each other. It makes no
// promise of compatibility: only Holdfast's own packages use it.
//
// This is the determinism boundary: in a workflow there is no clock, no randomness, no
// goroutine, no broker and no database.
package workflows
