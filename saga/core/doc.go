// Package core decides how a saga moves: state and event in, state and effects
// out. It has no clock, no I/O and no goroutine, and does not know what drives it
// or how many sagas share a history. It makes no promise of compatibility: programs use
// package saga.
//
//	plan.go      a definition without its functions
//	complete.go  what a plan leaves open, and what is wrong with it
//	state.go     what is known of one saga, which is all there is to carry on
//	event.go     what happens to a saga, and what it wants done
//	forward.go   doing
//	backward.go  undoing
//	unsure.go    what may have been done by a run that nobody recorded
//	operator.go  what an operator can ask for
//	mermaid.go   a plan, drawn
//	patch.go     what a step changes in the state: JSON merge patches (RFC 7386)
package core
