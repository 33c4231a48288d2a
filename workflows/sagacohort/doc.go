// Package sagacohort holds the workflow SagaCohort, which the sagas of one moment share.
//
// It goes in rounds, each of which is a local activity over all members that have not ended:
// its result in the history says what each of them did. Whoever does not end well at once goes
// on in a workflow Saga of its own, and so does everybody where the process dies that ran them:
// the step rows tell that workflow what was done.
//
// It imports what all workflows share, and none of its neighbours; it makes no promise of
// compatibility.
package sagacohort
