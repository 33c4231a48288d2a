package stepend_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// TestForms: the record and the signal are what other versions write and read.
func TestForms(t *testing.T) {
	t.Parallel()
	r := stepend.Reply{Saga: "saga/g/n/k", Workflow: "saga/g/n/k/undo", Step: "pay", Undo: true, Outcome: stepend.Failed,
		Class: holdfast.ClassPanic, Reason: "oops", Result: json.RawMessage(`{"a":1}`), Participant: "payments", Token: "t", Topic: "pay.it"}
	const rest = `"step":"pay","undo":true,"outcome":"failed","class":"panic","reason":"oops","result":{"a":1}`
	for want, r := range map[string]stepend.Reply{
		`{"saga":"saga/g/n/k","workflow":"saga/g/n/k/undo",` + rest + `,"participant":"payments","token":"t","topic":"pay.it"}`: r,
		`{` + rest + `,"token":"t","topic":"pay.it"}`: r.Signal(),
		`{"step":"pay","outcome":"done"}`:             {Step: "pay", Outcome: stepend.Done},
	} {
		got, err := json.Marshal(r)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}
