// Package sagas holds the workflow Saga, which brings one saga to its end.
//
// The machine of saga/core decides; what it wants done is carried out here, and what
// happens is fed back to it. A step's Do is a local activity where it can be: several are
// one workflow task. An Undo is a regular activity, so that what was done is recorded
// before it is undone.
//
// It imports what all workflows share, and neither of its neighbours; it makes no promise
// of compatibility.
package sagas
