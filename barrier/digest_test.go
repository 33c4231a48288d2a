package barrier_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// proven is what a compensation asks first.
func proven(t *testing.T, db *gorm.DB, c barrier.Claim) error {
	t.Helper()
	var out error
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		out = barrier.Proven(t.Context(), tx, c)
		return nil
	}))
	return out
}

// A compensation is of what a transaction committed, and of nothing else that
// carries its name.
func TestProven(t *testing.T) {
	db, _ := migrated(t)
	message := func(id, body string) holdfast.Message {
		return holdfast.Message{ID: id, Topic: "order.placed", Key: "k", Body: []byte(body)}
	}
	commit := func(id string, change bool, ms ...holdfast.Message) {
		r := barrier.Run(t.Context(), db, barrier.Local{TxID: id, Group: group, Fresh: true, Messages: ms},
			func(_ context.Context, _ *gorm.DB, ms []*holdfast.Message) error {
				if change {
					ms[0].Body = []byte("changed")
				}
				return nil
			})
		require.NoError(t, r.Err)
	}
	commit("one", false, message("one", "a"))
	commit("many", false, message("many.1", "a"), message("many.2", "b"))
	commit("changed", true, message("changed.1", "a"), message("changed.2", "b"))
	_, err := barrier.CheckBack(t.Context(), db, "back", group, 0)
	require.NoError(t, err)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		_, err := barrier.Insert(t.Context(), tx, "split", group, message("split", "a"))
		return err
	}))
	require.NoError(t, db.Exec("INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution) VALUES ('old', ?, 'commit')", group).Error)

	claim := func(tx string, m holdfast.Message) barrier.Claim {
		return barrier.Claim{TxID: tx, Group: group, Message: m}
	}
	edited := claim("one", message("one", "edited"))
	sum := sha256.Sum256([]byte("a"))
	edited.OriginalSHA256 = hex.EncodeToString(sum[:])
	for name, c := range map[string]barrier.Claim{
		"one message":                claim("one", message("one", "a")),
		"the first of two":           claim("many", message("many.1", "a")),
		"the second of two":          claim("many", message("many.2", "b")),
		"changed by its transaction": claim("changed", message("changed.1", "changed")),
		"another, not changed":       claim("changed", message("changed.2", "b")),
		"split":                      claim("split", message("split", "a")),
		"edited by an operator":      edited,
		"a row without a digest":     claim("old", message("old", "whatever")),
	} {
		require.NoError(t, proven(t, db, c), name)
	}

	other := func(change func(m *holdfast.Message)) barrier.Claim {
		m := message("one", "a")
		change(&m)
		return claim("one", m)
	}
	edited.Message.Key = "another"
	unreadable := edited
	unreadable.OriginalSHA256 = "?"
	for name, c := range map[string]struct {
		barrier.Claim
		want string
	}{
		"no transaction":        {claim("", message("one", "a")), "names no transaction"},
		"no row":                {claim("none", message("none", "a")), "has no outcome row"},
		"rolled back":           {claim("back", message("back", "a")), "was rolled back"},
		"another group's":       {barrier.Claim{TxID: "one", Group: "others", Message: message("one", "a")}, "belongs to producer group"},
		"another body":          {other(func(m *holdfast.Message) { m.Body = []byte("b") }), "is not what it committed"},
		"another key":           {other(func(m *holdfast.Message) { m.Key = "the victim" }), "is not what it committed"},
		"another topic":         {other(func(m *holdfast.Message) { m.Topic = "order.paid" }), "is not what it committed"},
		"another ID":            {other(func(m *holdfast.Message) { m.ID = "two" }), "has no message two"},
		"beyond its messages":   {claim("many", message("many.3", "a")), "has 2 messages"},
		"another of its own":    {claim("many", message("many.2", "a")), "is not what it committed"},
		"number 0":              {claim("many", message("many.0", "a")), "has no message"},
		"what it was before":    {claim("changed", message("changed.1", "a")), "is not what it committed"},
		"no row's, by its ID":   {claim("old", message("other", "a")), "has no message other"},
		"edited, another key":   {edited, "is not what it committed"},
		"edited, and no hash":   {unreadable, "unreadable"},
		"not one of the stored": {claim("changed", message("changed.3", "a")), "has no message"},
	} {
		err := proven(t, db, c.Claim)
		require.ErrorIs(t, err, holdfast.ErrNoOutcome, name)
		require.True(t, holdfast.IsPermanent(err), name)
		require.ErrorContains(t, err, c.want, name)
	}
}
